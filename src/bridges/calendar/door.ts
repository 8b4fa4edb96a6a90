// The HTTP door: a calendar object that somebody posts to the hub's listener, with a password.
import { createHash, timingSafeEqual } from 'node:crypto';
import type { HttpAnswer, HttpHandler, HttpRequest } from '../../hub/http.ts';
import type { Delivery } from './broker.ts';
import type { Outcome } from './intake.ts';
import type { DoorConfig } from './kind.ts';

/** Requests that may be in work at once. */
const mostAtOnce = 500;

/**
 * Answers a POST. Who posts shows the password as Bearer token or, with the user, by Basic. `Calendar-Owner` says
 * whose calendar it is, `Calendar-Event` what happened (`alarm`, `CREATEEVENT` …), `Idempotency-Key` stands for the
 * message id: what comes twice with the same key is told once.
 */
export function doorHandler(config: DoorConfig, take: (delivery: Delivery) => Promise<Outcome>): HttpHandler {
  let inWork = 0;
  return async request => {
    if (!admits(config, header(request, 'authorization'))) {
      return { status: 401, body: 'a password is needed\n', headers: { 'www-authenticate': 'Basic realm="calendar"' } };
    }
    if (inWork >= mostAtOnce) return { status: 503, body: 'too much at once\n', headers: { 'retry-after': '1' } };
    inWork++;
    try {
      return answerOf(await take(deliveryOf(request)));
    } finally {
      inWork--;
    }
  };
}

function header(request: HttpRequest, name: string): string {
  const value = request.headers[name];
  return (Array.isArray(value) ? value[0] : value) ?? '';
}

function admits({ user, password }: DoorConfig, authorization: string): boolean {
  const [scheme, given = ''] = authorization.split(/\s+/, 2);
  if (/^bearer$/i.test(scheme)) return same(given, password);
  if (!/^basic$/i.test(scheme)) return false;
  return same(Buffer.from(given, 'base64').toString(), `${user}:${password}`);
}

/** Takes the same time whatever is wrong. */
function same(a: string, b: string): boolean {
  const digest = (text: string) => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(a), digest(b));
}

function deliveryOf(request: HttpRequest): Delivery {
  const properties = new Map<string, string>();
  const owner = header(request, 'calendar-owner');
  const event = header(request, 'calendar-event');
  if (owner) properties.set('owner', owner);
  if (event) properties.set('type', event);
  return {
    id: header(request, 'idempotency-key').slice(0, 500),
    body: request.body,
    size: request.body.length,
    type: header(request, 'content-type'),
    sent: Date.now(),
    properties,
    settle() {},
  };
}

const statuses: Record<string, number> = { duplicate: 200, 'unknown-user': 404, 'too-large': 413, ending: 503 };

function answerOf(outcome: Outcome): HttpAnswer {
  if (outcome.taken) return { status: 202, body: `taken for ${outcome.users} user${outcome.users === 1 ? '' : 's'}\n` };
  return { status: statuses[outcome.reason] ?? 422, body: `${outcome.reason}: ${outcome.text}\n` };
}

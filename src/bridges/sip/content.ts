// Messages as handlers see them, and bodies with their Content-Encoding undone.
import { gunzipSync, inflateRawSync, inflateSync } from 'node:zlib';
import type { SipRequest, SipResponse, SipSource } from './engine.ts';
import { parseRetryAfter } from './fields.ts';
import { type Message, reasonPhrases } from './message.ts';
import { headerName } from './parser.ts';

/** The encodings that `decodeBody` undoes, for Accept-Encoding. */
export const encodings = 'gzip, deflate, identity';

/** The body with its Content-Encoding undone; null for an encoding that we do not know, or one that does not hold. */
export function decodeBody(message: Message, limit: number): Uint8Array | null {
  const encoding = (message.header('content-encoding') ?? 'identity').trim().toLowerCase();
  const { body } = message;
  if (encoding === 'identity' || encoding === '' || body.length === 0) return body;
  const options = { maxOutputLength: limit };
  try {
    if (encoding === 'gzip') return gunzipSync(body, options);
    if (encoding !== 'deflate') return null;
    // COMPAT(some phones): `deflate` without the zlib wrapping that RFC 9110 §8.4.1.2 asks for.
    return (body[0] & 0x0f) === 8 && ((body[0] << 8) | body[1]) % 31 === 0
      ? inflateSync(body, options)
      : inflateRawSync(body, options);
  } catch {
    return null;
  }
}

/** A request for a handler. */
export class RequestView implements SipRequest {
  readonly #message: Message;
  readonly source: SipSource;
  readonly body: Uint8Array;

  constructor(message: Message, source: SipSource, body: Uint8Array) {
    this.#message = message;
    this.source = source;
    this.body = body;
  }

  get method(): string {
    return this.#message.method;
  }

  get uri(): string {
    return this.#message.uriText;
  }

  get from(): string {
    return this.#message.from.uri.text;
  }

  get to(): string {
    return this.#message.to.uri.text;
  }

  get fromHeader(): string {
    return this.header('from')!;
  }

  get toHeader(): string {
    return this.header('to')!;
  }

  get displayName(): string {
    return this.#message.from.displayName;
  }

  get callId(): string {
    return this.#message.callId;
  }

  get contentType(): string {
    return this.header('content-type') ?? '';
  }

  header(name: string): string | undefined {
    return this.#message.header(headerName(name));
  }

  headersOf(name: string): string[] {
    return this.#message.headersOf(headerName(name));
  }
}

/** A final answer for the one who sent the request. */
export class ResponseView implements SipResponse {
  readonly #message: Message;
  readonly local = false;
  readonly body: Uint8Array;

  constructor(message: Message, body: Uint8Array) {
    this.#message = message;
    this.body = body;
  }

  get status(): number {
    return this.#message.status;
  }

  get reason(): string {
    return this.#message.reason;
  }

  get contentType(): string {
    return this.header('content-type') ?? '';
  }

  get retryAfter(): number | undefined {
    return parseRetryAfter(this.header('retry-after'));
  }

  header(name: string): string | undefined {
    return this.#message.header(headerName(name));
  }

  headersOf(name: string): string[] {
    return this.#message.headersOf(headerName(name));
  }
}

/** The answer that the engine gives itself where no peer did (RFC 3261 §8.1.3.1). */
export function localResponse(status: 408 | 503, reason = reasonPhrases[status]): SipResponse {
  return {
    status,
    reason,
    header: () => undefined,
    headersOf: () => [],
    contentType: '',
    body: new Uint8Array(0),
    retryAfter: undefined,
    local: true,
  };
}

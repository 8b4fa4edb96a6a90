// From XMPP to the phone: who may write to which number, what goes into the queue, and what the sender hears of it.
import { type Element, el } from '../../xmpp/element.ts';
import { type ErrorType, type StanzaCondition, StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import type { BridgePort } from '../bridge.ts';
import { numberOf, prefixLength, validNumber } from './addresses.ts';
import { Allowance } from './allowance.ts';
import type { Counts } from './counts.ts';
import type { Numbers } from './numbers.ts';
import type { Pairs } from './pairs.ts';
import { flag, type Outgoing, type Queued, type Sent, type SmsQueue } from './queue.ts';
import { countSegments, mostSegments } from './segments.ts';
import type { SmsConfig } from './settings.ts';
import { signed, textOf } from './translate.ts';
import type { Users } from './users.ts';

export interface OutboundParts {
  config: SmsConfig;
  port: BridgePort;
  queue: SmsQueue;
  pairs: Pairs;
  users: Users;
  numbers: Numbers;
  counts: Counts;
  /** There is a new message for a route. */
  wake(route: string): void;
}

type Reason = 'number' | 'prefix' | 'user' | 'stopped' | 'length' | 'hour' | 'queue' | 'kind';

const conditions: Readonly<Record<Reason, [StanzaCondition, ErrorType]>> = {
  number: ['jid-malformed', 'modify'],
  prefix: ['not-allowed', 'cancel'],
  user: ['forbidden', 'auth'],
  stopped: ['not-allowed', 'cancel'],
  length: ['not-acceptable', 'modify'],
  hour: ['policy-violation', 'wait'],
  queue: ['resource-constraint', 'wait'],
  kind: ['not-acceptable', 'modify'],
};

/** A queue that is longer is not searched for the messages to one number. */
const mostSearched = 10_000;

export class Outbound {
  readonly #parts: OutboundParts;
  readonly #allowance: Allowance;

  constructor(parts: OutboundParts) {
    this.#parts = parts;
    const { perHour, totalPerHour } = parts.config.limits;
    this.#allowance = new Allowance(perHour, totalPerHour);
  }

  /** Takes a message to `+number@domain`. Resolves once it is kept; rejects with a StanzaError that says what is wrong. */
  async take(stanza: Stanza): Promise<void> {
    const { port, pairs, users, queue, counts } = this.#parts;
    const number = this.#checkNumber(stanza.to!);
    if (stanza.type === 'groupchat') throw this.#refusal('kind', 'a phone cannot be in a room');
    const text = textOf(stanza);
    if (text === '') return; // A chat state or a receipt: phones know none.
    const from = stanza.from!;
    if (!this.mayWrite(from) && pairs.find(number)?.equals(from.bare) !== true) {
      throw this.#refusal('user', `${from.bare} may not send short messages from here`);
    }
    this.#checkText(text);
    if (pairs.isStopped(number)) throw this.#refusal('stopped', `${number} asked for no more messages`);
    const account = users.get(from).account;
    const whole = account ? text : await this.#signed(text, from);
    this.#checkRoom(from);
    const outgoing: Outgoing = {
      route: account ? from.bare.toString() : '',
      number,
      text: whole,
      sender: from.toString(),
      stanza: stanza.id.slice(0, 1000),
      flags: stanza.has('request', ns.receipts) && stanza.id ? flag.receipt : 0,
    };
    if (queue.add(outgoing) !== null) {
      pairs.note(number, from);
      counts.submitted.add();
    }
    await port.store.durable();
    this.#parts.wake(outgoing.route);
  }

  /**
   * Takes a message that found a local user offline, where they want it and have a number. Resolves, once it is kept, to whether it
   * goes to the phone. A limit keeps it from the phone, not from the user.
   */
  async forward(stanza: Stanza): Promise<boolean> {
    const { port, config, pairs, users, numbers, queue, counts } = this.#parts;
    const user = stanza.to!.bare;
    const from = stanza.from;
    const text = textOf(stanza);
    if (from === null || text === '' || config.domain === from.domain) return false;
    if (stanza.type !== '' && !['chat', 'normal', 'headline'].includes(stanza.type)) return false;
    if (stanza.has('no-store', ns.hints) || stanza.has('no-permanent-store', ns.hints)) return false;
    // It was kept for the user before, and went to the phone then.
    if (stanza.child('delay', ns.delay)?.attrs.from === user.domain) return false;
    if (!(users.get(user).forward ?? config.forwardOffline)) return false;
    const number = await numbers.find(user);
    if (number === null) return false;
    try {
      if (pairs.isStopped(number)) throw this.#refusal('stopped');
      if (prefixLength(number, config.allow) < 0) throw this.#refusal('prefix');
      this.#checkText(text);
      this.#checkRoom(user);
      const whole = await this.#signed(text, from);
      const outgoing = {
        route: '',
        number,
        text: whole,
        sender: from.toString(),
        stanza: stanza.id,
        flags: flag.forwarded,
      };
      if (queue.add(outgoing) !== null) {
        pairs.note(number, from);
        counts.submitted.add();
        counts.forwarded.add();
      }
      await port.store.durable();
      this.#parts.wake('');
      return true;
    } catch (error) {
      if (!(error instanceof StanzaError)) throw error;
      port.log.info({ user: user.toString(), reason: error.text }, 'not forwarded to the phone');
      return false;
    }
  }

  /** Says something to a number in the bridge's own name. */
  say(number: string, text: string, route: string): void {
    const outgoing = { route, number, text, sender: '', stanza: '', flags: flag.own };
    this.#parts.queue.add(outgoing);
    this.#parts.wake(route);
  }

  /** A number was told to be left alone: what waits for it goes back to who wrote it. */
  async withdraw(number: string): Promise<void> {
    // In a very long queue they are not looked for: each goes back when its turn comes.
    while (this.#parts.queue.length <= mostSearched) {
      const some = this.#parts.queue.waitingFor(number, 100);
      if (some.length === 0) return;
      for (const queued of some) await this.giveUp(queued, 'stopped', `${number} asked for no more messages`);
    }
  }

  /** A message will not be sent: its sender hears why, and it leaves the queue. */
  async giveUp(queued: Queued, reason: string, words: string): Promise<void> {
    await this.failed(queued, reason, words);
    this.#parts.queue.remove(queued);
  }

  /** Tells the sender of a message that it failed. */
  async failed(message: Queued | Sent, reason: string, words: string): Promise<void> {
    const { counts, port } = this.#parts;
    counts.failed(reason);
    if (message.flags & (flag.own | flag.forwarded)) return;
    const original = this.#original(message, 'text' in message ? el('body', ns.client, {}, message.text) : null);
    if (original) await port.receive(original.error('recipient-unavailable', words, 'cancel'));
  }

  /** Answers an XEP-0184 request where there was one. */
  async receipt(message: Queued | Sent): Promise<void> {
    if (!(message.flags & flag.receipt) || message.flags & (flag.own | flag.forwarded)) return;
    const original = this.#original(message, null);
    if (!original) return;
    const answer = el('received', ns.receipts, { id: message.stanza });
    await this.#parts.port.receive(
      Stanza.of('message', { from: original.to, to: original.from, id: `sms-${message.id.toString(36)}` }, answer),
    );
  }

  #original(message: Queued | Sent, body: Element | null): Stanza | null {
    const sender = Jid.tryParse(message.sender);
    if (!sender) return null;
    const to = Jid.of(message.number, this.#parts.config.domain, '');
    return Stanza.of('message', { from: sender, to, id: message.stanza, type: 'chat' }, body);
  }

  #checkNumber(to: Jid): string {
    if (to.local === '') throw this.#refusal('number', `write to a number at ${to.domain}: ${validNumber}`);
    const number = numberOf(to);
    if (number === null) throw this.#refusal('number', `${to.local} is not a phone number; ${validNumber}`);
    const { allow } = this.#parts.config;
    if (prefixLength(number, allow) < 0) {
      throw this.#refusal('prefix', `messages go to numbers that begin with ${allow.join(', ')}`);
    }
    return number;
  }

  #checkText(text: string): void {
    const { limits, concatenation } = this.#parts.config;
    const length = text.length > 100_000 ? text.length : [...text].length;
    if (limits.characters >= 0 && length > limits.characters) {
      throw this.#refusal('length', `the message has ${length} characters, at most ${limits.characters} are permitted`);
    }
    // A name of at most 40 characters may come before it.
    if (length > 16_000 || (length > 10_000 && countSegments(text, concatenation) > mostSegments - 2)) {
      throw this.#refusal('length', 'the message is too long for a phone');
    }
  }

  #checkRoom(user: Jid): void {
    const { limits } = this.#parts.config;
    if (limits.queue >= 0 && this.#parts.queue.length >= limits.queue) {
      throw this.#refusal('queue', `${limits.queue} messages wait already; try again later`);
    }
    const why = this.#allowance.take(user.bare.toString());
    if (why) throw this.#refusal('hour', why);
  }

  #refusal(reason: Reason, words = reason as string): StanzaError {
    this.#parts.counts.refused(reason);
    const [condition, type] = conditions[reason];
    return new StanzaError(condition, words, type);
  }

  /** `users` of the configuration; without it the users who live here, or attached those of the domain above ours. */
  mayWrite(from: Jid): boolean {
    const { config, port } = this.#parts;
    if (config.users === null) {
      return port.inside ? port.inside.hosts(from.domain) : config.domain.endsWith(`.${from.domain}`);
    }
    return config.users.some(user => user === '*' || user === from.domain || user === from.bare.toString());
  }

  async #signed(text: string, from: Jid): Promise<string> {
    const { config, port } = this.#parts;
    if (!config.prefix.includes('{name}')) return config.prefix + text;
    const found = port.directory(from.domain)?.find(from.local);
    const person = found instanceof Promise ? await found.catch(() => null) : found;
    return signed(text, config.prefix, person?.name || from.local || from.domain);
  }
}

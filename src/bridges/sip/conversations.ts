// Messages across the bridge: one at a time and in order for each pair of people, with what comes back of each (RFC 7572).
import { randomBytes } from 'node:crypto';
import { toldOf } from '../../hub/failure.ts';
import { el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import { sipAddress } from './addresses.ts';
import {
  acceptedTypes,
  type Content,
  contentOf,
  type Notice,
  type Saying,
  sayingOf,
  sayingsOf,
  stanzaOf,
  type Words,
} from './chat.ts';
import type { SipAnswer, SipRequest, SipResponse } from './engine.ts';
import { answerTo, errorIn, errorOf } from './errors.ts';
import { Memory } from './memory.ts';
import type { Surroundings } from './surroundings.ts';
import { Tally } from './tally.ts';
import { splitText } from './text.ts';

/** Messages of one pair that may wait: somebody who writes faster than the peer answers hears of it. */
const mostOfPair = 200;
/** How much of the queue one sender can have. */
const shareOfOne = 0.1;

/** What waits to be sent to SIP. */
interface Waiting {
  saying: Saying;
  /** What came from XMPP, for errors and receipts. */
  stanza: Stanza;
}

/** A message from SIP whose sender wants to know what becomes of it. */
interface Sent {
  dateTime: string;
  wants: boolean;
}

export class Conversations {
  readonly #around: Surroundings;
  /** By sender and recipient: what waits behind the message under way. */
  readonly #lines = new Map<string, Waiting[]>();
  #waiting = 0;
  readonly #bySender = new Tally();
  /** SIP users whose software writes CPIM, and those whose software does not know is-composing. */
  readonly #writesCpim = new Memory<boolean>(50_000);
  readonly #noComposing = new Memory<boolean>(50_000);
  readonly #sent = new Memory<Sent>(50_000);
  /** SIP users who are writing, with the time at which that is over without news. */
  readonly #writing = new Map<string, NodeJS.Timeout>();
  /** Where a SIP user's messages go: its address, its device's, or where it has registered. */
  readonly #targetsOf: (contact: Jid, user: Jid) => string[];

  constructor(around: Surroundings, targetsOf: (contact: Jid, user: Jid) => string[]) {
    this.#around = around;
    this.#targetsOf = targetsOf;
  }

  get waiting(): number {
    return this.#waiting;
  }

  stop(): void {
    for (const timer of this.#writing.values()) clearTimeout(timer);
    this.#writing.clear();
  }

  /** A message for a SIP user: queued, or refused with a StanzaError. */
  send(stanza: Stanza): void {
    if (stanza.type === 'groupchat') throw new StanzaError('not-acceptable', 'there are no rooms on the SIP side');
    const kept = stanza.detach();
    for (const saying of sayingsOf(stanza)) {
      const sayings: Saying[] = saying.kind === 'words' ? this.#parts(saying) : [saying];
      const key = keyOf(stanza.from!, stanza.to!);
      const line = this.#lines.get(key);
      const sender = stanza.from!.bare.toString();
      this.#checkRoom(sender, line, sayings.length);
      const entries = sayings.map(one => ({ saying: one, stanza: kept }));
      this.#waiting += entries.length;
      this.#bySender.add(sender, entries.length);
      if (line) {
        line.push(...entries);
      } else {
        this.#lines.set(key, entries);
        void this.#work(key, entries);
      }
    }
  }

  #checkRoom(sender: string, line: Waiting[] | undefined, more: number): void {
    const { queue } = this.#around.config.chat;
    const isFull =
      this.#waiting + more > queue ||
      this.#bySender.of(sender) + more > Math.max(mostOfPair, queue * shareOfOne) ||
      (line?.length ?? 0) + more > mostOfPair;
    if (isFull) throw new StanzaError('resource-constraint', 'too many messages wait for the SIP side', 'wait');
  }

  /** An error for a message of a SIP user came back: its sender learns of it where it asked to (RFC 5438 §7.2.1.3). */
  cameBack(stanza: Stanza): void {
    const user = stanza.from!;
    const contact = stanza.to!;
    this.#around.counts.message(contact.domain, 'in', 'failed');
    const sent = this.#sent.take(`${keyOf(contact, user)} ${stanza.id}`);
    if (!sent?.wants) return;
    const { condition } = errorIn(stanza);
    const disposition = condition === 'forbidden' || condition === 'not-allowed' ? 'forbidden' : 'failed';
    const notice: Notice = { kind: 'notice', id: stanza.id, disposition };
    this.#transmit(notice, user, contact, sent.dateTime).catch(error =>
      this.#around.port.log.debug({ err: error, to: contact.domain }, 'a notice was not sent to SIP'),
    );
  }

  /** A MESSAGE from SIP. */
  async receive(request: SipRequest): Promise<SipAnswer> {
    const { counts } = this.#around;
    let domain = '';
    try {
      const from = await this.#around.sender(request);
      domain = from.domain;
      const to = this.#around.recipient(request);
      await this.#around.checkWay(to);
      const answer = await this.#deliver(request, from, to);
      counts.message(domain, 'in', answer.status < 300 ? 'delivered' : 'refused');
      return answer;
    } catch (error) {
      if (domain) counts.message(domain, 'in', 'refused');
      if (error instanceof StanzaError && error.condition === 'not-acceptable') {
        return { status: 415, reason: 'Unsupported Media Type', headers: [['Accept', acceptedTypes.join(', ')]] };
      }
      return answerTo(error);
    }
  }

  async #deliver(request: SipRequest, from: Jid, to: Jid): Promise<SipAnswer> {
    const saying = sayingOf(request);
    if (saying === null) return { status: 200 };
    const isCpim = request.contentType.toLowerCase().includes('message/cpim');
    if (isCpim) this.#writesCpim.set(from.toString(), true);
    this.#noteWriting(saying, from, to);
    const stanza = stanzaOf(saying, from, to, `sip-${randomBytes(9).toString('base64url')}`);
    if (stanza === null) return { status: 200 };
    if (saying.kind === 'words') this.#remember(saying, stanza, isCpim);
    if (stanza.isError) {
      await this.#around.tell(stanza);
      return { status: 200 };
    }
    const error = await this.#around.offer(stanza);
    if (error) {
      this.#sent.take(`${keyOf(from, to)} ${stanza.id}`);
      return answerTo(error);
    }
    // What is on its way to another server is accepted, not delivered (RFC 3428 §7).
    return { status: this.#around.port.inside?.hosts(to.domain) ? 200 : 202 };
  }

  #remember(saying: Words, stanza: Stanza, isCpim: boolean): void {
    const dateTime = new Date(saying.sent ?? Date.now()).toISOString();
    if (isCpim && saying.id) {
      this.#sent.set(`${keyOf(stanza.from!, stanza.to!)} ${stanza.id}`, { dateTime, wants: true });
    }
  }

  /** Somebody of whom no more is heard has stopped writing (RFC 3994 §3.2). */
  #noteWriting(saying: Saying, from: Jid, to: Jid): void {
    const key = keyOf(from, to);
    clearTimeout(this.#writing.get(key));
    this.#writing.delete(key);
    if (saying.kind !== 'writing' || !saying.active || this.#writing.size >= 10_000) return;
    const idle: Saying = { kind: 'writing', active: false, lasts: 0 };
    const timer = setTimeout(() => {
      this.#writing.delete(key);
      void this.#around.tell(stanzaOf(idle, from, to, '')!);
    }, saying.lasts * 1000);
    timer.unref();
    this.#writing.set(key, timer);
  }

  /** Words in parts that SIP takes (RFC 3428 §8). Throws `policy-violation` for what is too long. */
  #parts(words: Words): Words[] {
    const { size, parts } = this.#around.config.chat;
    const texts = splitText(words.text, size, parts);
    if (texts === null) {
      throw new StanzaError('policy-violation', `the text is longer than ${parts} messages of ${size} bytes`);
    }
    // The subject goes with the first part; who asks for a receipt gets one when the last has arrived.
    return texts.map((text, i) => {
      const isLast = i === texts.length - 1;
      const asked = { wantsReceipt: isLast && words.wantsReceipt, wantsMarker: isLast && words.wantsMarker };
      return { ...words, text, subject: i === 0 ? words.subject : '', id: isLast ? words.id : '', ...asked };
    });
  }

  async #work(key: string, line: Waiting[]): Promise<void> {
    for (let next = line[0]; next; next = line[0]) {
      const isDone = await this.#one(next);
      this.#shift(line);
      // The rest of a message is no use without its beginning.
      while (!isDone && line[0]?.stanza === next.stanza) {
        this.#shift(line);
      }
    }
    this.#lines.delete(key);
  }

  #shift(line: Waiting[]): void {
    const gone = line.shift()!;
    this.#waiting--;
    this.#bySender.remove(gone.stanza.from!.bare.toString());
  }

  /** Sends one thing and tells its sender what became of it. False: it could not be sent. Never rejects. */
  async #one({ saying, stanza }: Waiting): Promise<boolean> {
    const from = stanza.from!;
    const to = stanza.to!;
    const { counts, port } = this.#around;
    try {
      if (saying.kind === 'writing' && this.#noComposing.get(to.bare.toString())) return true;
      const sent = saying.kind === 'notice' ? this.#sent.take(`${keyOf(to, from)} ${saying.id}`) : undefined;
      // Only who speaks IMDN has asked for a notice; others would show it as words.
      if (saying.kind === 'notice' && !sent && !this.#writesCpim.get(to.bare.toString())) return true;
      const { response, cpim } = await this.#transmit(saying, from, to, sent?.dateTime);
      const isDelivered = response.status >= 200 && response.status < 300;
      if (saying.kind !== 'words') return true;
      counts.message(to.domain, 'out', isDelivered ? 'delivered' : 'failed');
      if (!isDelivered) throw errorOf(response.status, response.reason);
      // 200 is the recipient's own word, 202 somebody's on the way (RFC 3428 §7); with CPIM its notification comes.
      if (response.status === 200 && saying.wantsReceipt && !cpim) await this.#receipt(saying.id, to, from);
      return true;
    } catch (error) {
      if (!(error instanceof StanzaError))
        port.log.warn({ err: error, to: to.domain }, 'a message was not sent to SIP');
      const known = toldOf(error);
      if (saying.kind === 'words') await this.#around.tell(stanza.refuse(known));
      return false;
    }
  }

  async #transmit(
    saying: Saying,
    from: Jid,
    to: Jid,
    dateTime?: string,
  ): Promise<{ response: SipResponse; cpim: boolean }> {
    const ends = { from: sipAddress(from.bare, 'im'), to: sipAddress(to.bare, 'im') };
    const key = to.bare.toString();
    const { cpim: choice } = this.#around.config.chat;
    const cpim = choice === 'always' || (choice === 'auto' && this.#writesCpim.get(key) === true);
    const thread = saying.kind === 'words' ? callIdOf(saying.thread) : undefined;
    const response = await this.#request(contentOf(saying, ends, cpim, dateTime), from, to, thread);
    const isUnknown = response.status === 415 || response.status === 406 || response.status === 488;
    if (isUnknown && saying.kind === 'writing') this.#noComposing.set(key, true);
    if (!isUnknown || !cpim || saying.kind !== 'words') return { response, cpim };
    // It knew CPIM once and does not now: another device, which gets plain text.
    this.#writesCpim.set(key, false);
    return { response: await this.#request(contentOf(saying, ends, false), from, to, thread), cpim: false };
  }

  /** Sends to all telephones of the recipient; the best answer counts (RFC 3261 §16.7). */
  async #request(content: Content, from: Jid, to: Jid, callId?: string): Promise<SipResponse> {
    const targets = this.#targetsOf(to, from);
    if (targets.length === 0) throw new StanzaError('recipient-unavailable', 'no telephone is registered');
    const [first, ...others] = await Promise.all(targets.map(uri => this.#requestAt(uri, content, from, to, callId)));
    return others.reduce((best, one) => (one.status < best.status ? one : best), first);
  }

  #requestAt(
    uri: string,
    { contentType, body, headers }: Content,
    from: Jid,
    to: Jid,
    callId?: string,
  ): Promise<SipResponse> {
    return this.#around.engine.send({
      method: 'MESSAGE',
      uri,
      callId,
      from: sipAddress(from.bare),
      to: sipAddress(to.bare),
      contentType,
      body,
      headers,
    });
  }

  #receipt(id: string, from: Jid, to: Jid): Promise<void> {
    const fields = { from: from.bare, to, type: 'chat', id: `sip-${randomBytes(9).toString('base64url')}` };
    return this.#around.tell(Stanza.of('message', fields, el('received', ns.receipts, { id })));
  }
}

function keyOf(from: Jid, to: Jid): string {
  return `${from.bare} ${to.bare}`;
}

/** A thread as the Call-ID that RFC 7572 §4 maps it to, where it can stand as one (RFC 3261 §25.1). */
function callIdOf(thread: string): string | undefined {
  return /^[\w.!%*+`'~-]+(?:@[\w.!%*+`'~-]+)?$/.test(thread) ? thread : undefined;
}

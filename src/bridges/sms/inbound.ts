// From the phone to XMPP: receipts, texts and their parts, and the words by which people ask to be left alone.
import { el } from '../../xmpp/element.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import type { BridgePort } from '../bridge.ts';
import type { Counts } from './counts.ts';
import type { Outbound } from './outbound.ts';
import type { Pairs } from './pairs.ts';
import { type Pdu, readDelivery } from './pdu.ts';
import type { Sent, SmsQueue } from './queue.ts';
import type { Reassembly, Whole } from './reassembly.ts';
import { explain, type Receipt, spellings } from './receipts.ts';
import type { SmsConfig, SmscConfig } from './settings.ts';
import { readIncoming } from './translate.ts';

export interface InboundParts {
  config: SmsConfig;
  port: BridgePort;
  queue: SmsQueue;
  pairs: Pairs;
  reassembly: Reassembly;
  outbound: Outbound;
  counts: Counts;
}

/** What answers a deliver_sm: taken; no user to give it to; not now. */
const ok = 0;
const rejected = 0x66;
const notNow = 0x64;
const malformed = 0x02;

/** Receipts that came before the answer to their submit_sm. */
const mostEarly = 2_000;
const earlyFor = 60_000;

/** Where a message from a phone came in: the route is '' or the user whose account it is. */
export interface Source {
  route: string;
  smsc: SmscConfig;
  /** Whether answers to submit_sm are still to come: only then can a receipt be early. */
  submitting: () => boolean;
}

export class Inbound {
  readonly #parts: InboundParts;
  readonly #early = new Map<string, { receipt: Receipt; from: string | null; until: number }>();

  constructor(parts: InboundParts) {
    this.#parts = parts;
  }

  /** Takes a deliver_sm or data_sm. Resolves, when what it brings is kept, to the status that answers it. */
  async take(pdu: Pdu, source: Source): Promise<number> {
    const { config, port, counts, reassembly } = this.#parts;
    const delivery = readDelivery(pdu);
    if (!delivery) return malformed;
    const incoming = readIncoming(delivery, source.smsc.alphabet, config.country);
    try {
      switch (incoming.kind) {
        case 'nothing':
          port.log.info({ why: incoming.why, smsc: source.smsc.name }, 'not passed on');
          return ok;
        case 'receipt':
          await this.#receipt(incoming.receipt, incoming.from, source);
          await port.store.durable();
          return ok;
        default: {
          const { part, ...text } = incoming;
          counts.received.add();
          if (!part) return await this.#text({ ...text, route: source.route, text: text.text.toWellFormed() });
          const whole = reassembly.add({ ...text, route: source.route, part });
          await port.store.durable();
          return whole ? await this.#whole(whole) : ok;
        }
      }
    } catch (error) {
      port.log.error({ err: error, smsc: source.smsc.name }, 'a delivery was not taken');
      return notNow;
    }
  }

  /** Passes on what stayed incomplete for too long. */
  async overdue(now = Date.now()): Promise<void> {
    const { reassembly, config } = this.#parts;
    for (const whole of reassembly.overdue(now - config.reassembly, 100)) await this.#whole(whole);
  }

  /** The SMSC gave a part this number: a receipt for it may be here already. */
  async numbered(smsc: SmscConfig, message: string): Promise<void> {
    if (this.#early.size === 0) return;
    const key = `${smsc.name}\0${message}`;
    const early = this.#early.get(key);
    if (!early) return;
    this.#early.delete(key);
    const number = message === early.receipt.message ? null : (early.from ?? '');
    const sent = this.#parts.queue.findSent(smsc.name, [message], number);
    if (sent) await this.#settle(early.receipt, sent);
  }

  async #whole(whole: Whole): Promise<number> {
    const status = await this.#text(whole);
    // What nobody is there for will not find anybody later.
    if (status === ok || status === rejected) this.#parts.reassembly.forget(whole);
    return status;
  }

  async #text({ from, text, route }: Pick<Whole, 'from' | 'text' | 'route'>): Promise<number> {
    const { config, port, pairs, counts } = this.#parts;
    if (from.startsWith('+') && (await this.#keyword(from, text, route))) return ok;
    const to = route !== '' ? Jid.parse(route) : (pairs.find(from) ?? config.defaultRecipient);
    if (!to) {
      counts.refused('nobody');
      port.log.info({ from }, 'nobody here has written to this number, and there is no default-recipient');
      return rejected;
    }
    if (text.trim() === '') return ok;
    const body = el('body', ns.client, {}, text);
    await port.receive(Stanza.of('message', { from: Jid.of(from, config.domain, ''), to, type: 'chat' }, body));
    return ok;
  }

  /** STOP and START. True: that was all. */
  async #keyword(number: string, text: string, route: string): Promise<boolean> {
    const { config, pairs, outbound, port } = this.#parts;
    const word =
      text.length > 40
        ? ''
        : text
            .trim()
            .replace(/[.!\s]+$/, '')
            .toUpperCase();
    const { words, start, reply } = config.stop;
    if (words.includes(word)) {
      if (pairs.setStopped(number, true)) {
        await outbound.withdraw(number);
        if (reply) outbound.say(number, reply, route);
        port.log.info({ number }, 'asked for no more messages');
      }
    } else if (start.includes(word) && pairs.setStopped(number, false)) {
      port.log.info({ number }, 'asked for messages again');
    } else return false;
    await port.store.durable();
    return true;
  }

  /** Looks for the message at once: what is awaited first, the answer to its submit_sm could overtake. */
  #receipt(receipt: Receipt, from: string | null, source: Source): Promise<void> {
    const sent = this.#find(receipt, from, source.smsc);
    if (receipt.fate !== 'pending') {
      if (sent) return this.#settle(receipt, sent);
      if (source.submitting()) this.#keepEarly(receipt, from, source.smsc);
      else this.#parts.counts.strayReceipts.add();
    }
    return Promise.resolve();
  }

  #keepEarly(receipt: Receipt, from: string | null, smsc: SmscConfig): void {
    const now = Date.now();
    for (const [key, { until }] of this.#early) {
      if (until > now && this.#early.size < mostEarly) break;
      this.#early.delete(key);
    }
    for (const message of spellings(receipt.message)) {
      this.#early.set(`${smsc.name}\0${message}`, { receipt, from, until: now + earlyFor });
    }
  }

  #find(receipt: Receipt, from: string | null, smsc: SmscConfig): Sent | null {
    const { queue } = this.#parts;
    return (
      queue.findSent(smsc.name, [receipt.message], null) ??
      // A number that is only written alike may be another message's: then the phone has to be the right one.
      queue.findSent(smsc.name, spellings(receipt.message), from ?? '')
    );
  }

  /** Tells the sender of a message what became of it. */
  async #settle(receipt: Receipt, sent: Sent): Promise<void> {
    const { queue, outbound, counts, config } = this.#parts;
    if (receipt.fate === 'failed') {
      queue.abandon(sent);
      await outbound.failed(sent, receipt.state, explain(receipt));
    } else if (queue.settle(sent)) {
      counts.delivered.add();
      if (config.receipts === 'delivery') await outbound.receipt(sent);
    }
  }
}

// One bound connection with an SMSC: frames, answers, deadlines, enquire_link, and an end at the first thing that is wrong.
import type { Socket } from 'node:net';
import { longestPdu, Pdu, PduScanner, statusName } from './pdu.ts';
import type { SmscConfig } from './settings.ts';

export type Role = 'transceiver' | 'transmitter' | 'receiver';

/** The connection ended before the answer came: the SMSC may or may not have taken what was asked. */
export class AnswerLost extends Error {
  override readonly name = 'AnswerLost';
}

/** The SMSC does not let us in. */
export class BindRefused extends Error {
  override readonly name = 'BindRefused';
}

export interface LinkEvents {
  /** A deliver_sm or data_sm. Resolves to the status that answers it. */
  delivered(pdu: Pdu): Promise<number>;
  /** Once; `reason` in words. */
  closed(reason: string): void;
}

interface Waiting {
  command: string;
  deadline: number;
  resolve: (answer: Pdu) => void;
  reject: (error: AnswerLost) => void;
}

/** Deliveries that may be worked on at once: beyond, the SMSC waits. */
const mostDeliveries = 200;
/** Bytes that may wait for an SMSC that does not read. */
const mostUnsent = 16 * longestPdu;

const none = 0;
const invalidCommand = 3;

export class Link {
  readonly role: Role;
  readonly #socket: Socket;
  readonly #config: SmscConfig;
  readonly #events: LinkEvents;
  readonly #scanner = new PduScanner();
  readonly #waiting = new Map<number, Waiting>();
  readonly #ticker: NodeJS.Timeout;
  #sequence = 0;
  #unwritten: Buffer[] = [];
  #deliveries = 0;
  #heard = Date.now();
  #enquiring = false;
  #ended = false;

  private constructor(socket: Socket, role: Role, config: SmscConfig, events: LinkEvents) {
    this.#socket = socket;
    this.role = role;
    this.#config = config;
    this.#events = events;
    socket.setNoDelay(true);
    socket.on('data', chunk => this.#read(chunk));
    socket.on('error', error => this.destroy(error.message));
    socket.on('close', () => this.destroy('the SMSC closed the connection'));
    this.#ticker = setInterval(() => this.#tick(), Math.min(config.responseTimeout, config.enquireLink) / 4);
  }

  /**
   * Binds on a connected socket. Rejects with BindRefused where the SMSC says no, and with AnswerLost where it says nothing;
   * the socket is closed then. `events.closed` is called only for a link that was bound.
   */
  static async bind(socket: Socket, role: Role, config: SmscConfig, events: LinkEvents): Promise<Link> {
    let bound = false;
    const link = new Link(socket, role, config, {
      delivered: pdu => events.delivered(pdu),
      closed: reason => bound && events.closed(reason),
    });
    try {
      const answer = await link.request(`bind_${role}`, {
        system_id: config.systemId,
        password: config.password,
        system_type: config.systemType,
        interface_version: 0x34,
      });
      if (answer.command_status !== 0) {
        throw new BindRefused(`bind_${role} refused: ${statusName(answer.command_status)}`);
      }
      // The answer came, and the connection may have ended behind it in the same turn.
      if (link.#ended) throw new AnswerLost('the connection ended right after the bind');
      bound = true;
      return link;
    } catch (error) {
      link.destroy((error as Error).message);
      throw error;
    }
  }

  /** Requests that wait for their answers. */
  get pending(): number {
    return this.#waiting.size;
  }

  get open(): boolean {
    return !this.#ended;
  }

  /** Sends a request and resolves with its answer, whatever its status. Rejects with AnswerLost. */
  request(command: string, fields: Record<string, unknown>): Promise<Pdu> {
    return new Promise((resolve, reject) => {
      if (this.#ended) return reject(new AnswerLost('the connection has ended'));
      this.#sequence = this.#sequence >= 0x7fffffff ? 1 : this.#sequence + 1;
      const pdu = new Pdu(command, { ...fields, sequence_number: this.#sequence });
      const deadline = Date.now() + this.#config.responseTimeout;
      this.#waiting.set(this.#sequence, { command, deadline, resolve, reject });
      this.#write(pdu);
    });
  }

  /** Says good-bye and closes. */
  async unbind(): Promise<void> {
    if (this.#ended) return;
    await this.request('unbind', {}).catch(() => {});
    this.destroy('unbound');
  }

  /** Ends the connection at once; what waits is lost. */
  destroy(reason: string): void {
    if (this.#ended) return;
    this.#ended = true;
    clearInterval(this.#ticker);
    this.#flush();
    this.#socket.destroySoon();
    // A peer that reads nothing must not keep the socket.
    setTimeout(() => this.#socket.destroy(), 1_000).unref();
    for (const { reject } of this.#waiting.values()) reject(new AnswerLost(reason));
    this.#waiting.clear();
    this.#events.closed(reason);
  }

  #read(chunk: Buffer): void {
    if (this.#ended) return;
    try {
      for (const pdu of this.#scanner.push(chunk)) {
        if (this.#ended) return;
        this.#heard = Date.now();
        this.#take(pdu);
      }
    } catch (error) {
      this.#write(new Pdu('generic_nack', { command_status: 2, sequence_number: 0 }));
      this.destroy(`what the SMSC sends is no SMPP: ${(error as Error).message}`);
    }
  }

  #take(pdu: Pdu): void {
    if (pdu.isResponse()) return this.#answered(pdu);
    switch (pdu.command) {
      case 'deliver_sm':
      case 'data_sm':
        return this.#deliver(pdu);
      case 'enquire_link':
        return this.#answer(pdu, none);
      case 'unbind':
        this.#answer(pdu, none);
        return this.destroy('the SMSC unbound');
      case 'alert_notification':
      case 'outbind':
        return; // They have no answers (SMPP 3.4 §4.12, §4.1.7).
      default:
        this.#write(new Pdu('generic_nack', { command_status: invalidCommand, sequence_number: pdu.sequence_number }));
    }
  }

  #answered(pdu: Pdu): void {
    const waiting = this.#waiting.get(pdu.sequence_number);
    // An answer for nothing, a second one, or one to something else.
    if (!waiting || (pdu.command !== 'generic_nack' && pdu.command !== `${waiting.command}_resp`)) return;
    if (pdu.command === 'generic_nack' && pdu.command_status === 0) return;
    this.#waiting.delete(pdu.sequence_number);
    waiting.resolve(pdu);
  }

  #deliver(pdu: Pdu): void {
    if (++this.#deliveries >= mostDeliveries) this.#socket.pause();
    this.#events
      .delivered(pdu)
      .then(
        status => this.#answer(pdu, status),
        () => this.#answer(pdu, 8),
      )
      .finally(() => {
        if (--this.#deliveries < mostDeliveries / 2 && !this.#ended) this.#socket.resume();
      });
  }

  #answer(pdu: Pdu, status: number): void {
    if (this.#ended) return;
    this.#write(new Pdu(`${pdu.command}_resp`, { command_status: status, sequence_number: pdu.sequence_number }));
  }

  /** What is written in one turn leaves as one write. */
  #write(pdu: Pdu): void {
    if (this.#unwritten.push(pdu.toBuffer()) === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    const chunks = this.#unwritten;
    if (chunks.length === 0) return;
    this.#unwritten = [];
    if (!this.#socket.writable) return;
    this.#socket.write(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks));
    if (this.#socket.writableLength > mostUnsent) this.destroy('the SMSC does not read');
  }

  /** Deadlines, and the question whether anybody is there (SMPP 3.4 §2.9). */
  #tick(): void {
    const now = Date.now();
    for (const [sequence, { deadline, reject, command }] of this.#waiting) {
      if (deadline > now) break;
      this.#waiting.delete(sequence);
      reject(new AnswerLost(`no answer to ${command}`));
      // One that says other things may have lost this one; one that says nothing is not there.
      if (now - this.#heard >= this.#config.responseTimeout) return this.destroy('the SMSC does not answer');
    }
    if (this.#enquiring || now - this.#heard < this.#config.enquireLink) return;
    this.#enquiring = true;
    this.request('enquire_link', {}).then(
      () => {
        this.#enquiring = false;
      },
      () => this.destroy('the SMSC does not answer enquire_link'),
    );
  }
}

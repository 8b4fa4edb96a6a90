// An SMSC in this process, on the server side of the package smpp: answers as told, remembers what it got, speaks for phones.
import { EventEmitter } from 'node:events';
import type { AddressInfo, Server } from 'node:net';
import { createServer, type PDU, type Session } from 'smpp';

/** A submit_sm as the SMSC got it. */
export interface Submit {
  to: string;
  from: string;
  /** As the package decodes it; parts of long messages each by itself. */
  text: string;
  id: string;
  dataCoding: number;
  esmClass: number;
  reference: number;
  registered: number;
  validity: string;
  udh: Buffer | null;
  pdu: PDU;
}

/** What a submit_sm is answered with: a status, nothing at all, or something unusual that the function does itself. */
export type Answer = number | 'silence' | ((session: Session, submit: Submit) => void);

export interface SmscOptions {
  /** Answers a bind; 0 where absent. */
  bind?: (pdu: PDU) => number | 'silence';
  submit?: (submit: Submit, session: Session) => Answer;
  /** Answers enquire_link; true where absent. */
  alive?: boolean;
  /** Sends a receipt that says DELIVRD for each message that is accepted and asks for one. */
  receipts?: boolean;
  /** TLS: PEM of key and certificate. */
  tls?: { key: string; cert: string };
  port?: number;
}

export class TestSmsc {
  readonly options: SmscOptions;
  readonly submits: Submit[] = [];
  readonly binds: string[] = [];
  sessions: Session[] = [];
  /** Statuses of deliver_sm_resp, by the order of deliveries. */
  readonly answers: number[] = [];
  #server!: Server;
  #bound = new Set<Session>();
  readonly #events = new EventEmitter().setMaxListeners(0);
  #ids = 0;

  private constructor(options: SmscOptions) {
    this.options = options;
  }

  static async start(options: SmscOptions = {}): Promise<TestSmsc> {
    const smsc = new TestSmsc(options);
    const accept = (session: Session) => smsc.#accept(session);
    smsc.#server = options.tls ? createServer(options.tls, accept) : createServer(accept);
    await new Promise<void>((resolve, reject) => {
      smsc.#server.once('error', reject);
      smsc.#server.listen(options.port ?? 0, '127.0.0.1', resolve);
    });
    return smsc;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get bound(): Session[] {
    return [...this.#bound];
  }

  /** Ends all connections at once. */
  drop(): void {
    for (const session of this.sessions.splice(0)) session.destroy();
    this.#bound.clear();
  }

  async close(): Promise<void> {
    this.drop();
    await new Promise<void>(resolve => this.#server.close(() => resolve()));
  }

  /** Resolves when `condition` holds; looked at with each thing that happens. Rejects after the deadline. */
  async waits(condition: () => boolean, what: string, deadline = 5_000): Promise<void> {
    const end = Date.now() + deadline;
    while (!condition()) {
      const left = end - Date.now();
      if (left <= 0)
        throw new Error(`the SMSC waited in vain for ${what}; it has ${this.submits.map(s => s.text).join(' | ')}`);
      await new Promise<void>(resolve => {
        const timer = setTimeout(resolve, left);
        this.#events.once('change', () => {
          clearTimeout(timer);
          resolve();
        });
      });
    }
  }

  /** The first submit_sm that says this. */
  async gets(text: string | RegExp, deadline?: number): Promise<Submit> {
    const find = () => this.submits.find(s => (typeof text === 'string' ? s.text === text : text.test(s.text)));
    await this.waits(() => find() !== undefined, `${text}`, deadline);
    return find()!;
  }

  /** Delivers a short message from a phone; resolves to the status that answers it. */
  async delivers(from: string, to: string, text: string | Buffer, more: Record<string, unknown> = {}): Promise<number> {
    await this.waits(() => this.#bound.size > 0, 'a bind');
    const session = this.bound.at(-1)!;
    const fields = {
      source_addr_ton: 1,
      source_addr_npi: 1,
      source_addr: from,
      destination_addr: to,
      short_message: text,
      ...more,
    };
    return new Promise(resolve => {
      session.deliver_sm(fields, answer => {
        this.answers.push(answer.command_status);
        this.#events.emit('change');
        resolve(answer.command_status);
      });
    });
  }

  /** Delivers the receipt of a message. */
  receipt(of: { id: string; to: string; from: string }, state = 'DELIVRD', more: Record<string, unknown> = {}) {
    const failed = state === 'DELIVRD' ? 0 : 1;
    const text = `id:${of.id} sub:001 dlvrd:00${1 - failed} submit date:2607010000 done date:2607010000 stat:${state} err:${failed ? '021' : '000'} text:`;
    return this.delivers(of.to, of.from, text, { esm_class: 4, ...more });
  }

  #accept(session: Session): void {
    this.sessions.push(session);
    session.socket.setNoDelay(true);
    session.on('error', () => session.destroy());
    session.on('close', () => {
      this.#bound.delete(session);
      this.sessions = this.sessions.filter(one => one !== session);
      this.#events.emit('change');
    });
    session.on('pdu', (pdu: PDU) => {
      if (pdu.command.startsWith('bind_') && !pdu.isResponse()) this.#bind(session, pdu);
      else if (pdu.command === 'submit_sm') this.#submit(session, pdu);
      else if (pdu.command === 'enquire_link' && this.options.alive !== false) session.send(pdu.response());
      else if (pdu.command === 'unbind') {
        session.send(pdu.response());
        session.close();
      }
    });
  }

  #bind(session: Session, pdu: PDU): void {
    const status = this.options.bind?.(pdu) ?? 0;
    this.binds.push(`${pdu.command} ${pdu.system_id}`);
    if (status !== 'silence') {
      session.send(pdu.response({ command_status: status, system_id: 'test' }));
      if (status === 0) this.#bound.add(session);
    }
    this.#events.emit('change');
  }

  #submit(session: Session, pdu: PDU): void {
    const short = (pdu.message_payload ?? pdu.short_message) as { message: unknown; udh?: Buffer[] } | undefined;
    const submit: Submit = {
      to: String(pdu.destination_addr),
      from: String(pdu.source_addr),
      text: String(short?.message ?? ''),
      id: `m${++this.#ids}`,
      dataCoding: Number(pdu.data_coding),
      esmClass: Number(pdu.esm_class),
      reference: Number(pdu.user_message_reference),
      registered: Number(pdu.registered_delivery),
      validity: String(pdu.validity_period),
      udh: short?.udh?.[0] ?? null,
      pdu,
    };
    const answer = this.options.submit?.(submit, session) ?? 0;
    if (typeof answer === 'function') answer(session, submit);
    else if (answer !== 'silence')
      session.send(pdu.response({ command_status: answer, message_id: answer === 0 ? submit.id : '' }));
    if (answer === 0) this.submits.push(submit);
    if (answer === 0 && this.options.receipts && submit.registered === 1) void this.receipt(submit);
    this.#events.emit('change');
  }
}

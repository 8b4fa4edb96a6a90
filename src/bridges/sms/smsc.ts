// An SMSC as the bridge sees it: bound again whenever the connection ends, a window, and a pace that throttling slows.
import type { Socket } from 'node:net';
import type { Log } from '../../hub/log.ts';
import { type AnswerLost, Link, type Role } from './link.ts';
import { Pace } from './pace.ts';
import { messageId, type Pdu, status } from './pdu.ts';
import type { SmscConfig } from './settings.ts';

/** It was not handed to the SMSC: it can go again, or elsewhere, without any doubt. */
export class NotSent extends Error {
  override readonly name = 'NotSent';
}

/** What the SMSC answered to a submit_sm. */
export interface Submitted {
  status: number;
  /** '' where it gave none. */
  message: string;
}

export interface SmscParts {
  /** Makes a connection (with TLS, where it is configured). */
  connect(config: SmscConfig): Promise<Socket>;
  /** A deliver_sm or data_sm; resolves to the status that answers it. */
  delivered(pdu: Pdu): Promise<number>;
  /** There is room again, or the SMSC came up or went down. */
  changed(): void;
  throttled(): void;
  log: Log;
}

/** Pauses between attempts to bind, in ms; `stable` is how long a bind has to last for the next pause to be the first again. */
export interface Reconnecting {
  first: number;
  most: number;
  stable: number;
}

const reconnecting: Reconnecting = { first: 500, most: 60_000, stable: 30_000 };

/** How long answers are waited for when the bridge stops, in ms. */
const farewell = 2_000;

interface Entry {
  fields: Record<string, unknown>;
  resolve: (submitted: Submitted) => void;
  reject: (error: AnswerLost | NotSent) => void;
}

export class Smsc {
  readonly config: SmscConfig;
  readonly #parts: SmscParts;
  readonly #reconnecting: Reconnecting;
  readonly #pace: Pace;
  #links: Link[] = [];
  #sender: Link | null = null;
  #waiting: Entry[] = [];
  #inFlight = 0;
  #pause: number;
  #boundAt = 0;
  #timer: NodeJS.Timeout | null = null;
  #paceTimer: NodeJS.Timeout | null = null;
  #binding = false;
  #stopped = true;
  /** Why it is not bound, or was not the last time. */
  lastError = '';
  submitted = 0;

  constructor(config: SmscConfig, parts: SmscParts, pauses: Reconnecting = reconnecting) {
    this.config = config;
    this.#parts = parts;
    this.#reconnecting = pauses;
    this.#pause = pauses.first;
    this.#pace = new Pace(config.rate);
  }

  /** Begins to bind; does not wait for it. */
  start(): void {
    this.#stopped = false;
    void this.#bind();
  }

  /** Lets what is under way be answered, unbinds, and gives back what was not sent. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer) clearTimeout(this.#timer);
    if (this.#paceTimer) clearTimeout(this.#paceTimer);
    this.#timer = this.#paceTimer = null;
    this.#giveBack('the bridge stops');
    const end = Date.now() + Math.min(this.config.responseTimeout, farewell);
    while (this.#inFlight > 0 && Date.now() < end) await new Promise(resolve => setTimeout(resolve, 10));
    await Promise.all(this.#links.map(link => link.unbind()));
  }

  get up(): boolean {
    return this.#sender !== null && !this.#stopped;
  }

  /** How many more messages it takes now: a window that is under way and one that is ready to follow. */
  get room(): number {
    return this.up ? this.config.window * 2 - this.#inFlight - this.#waiting.length : 0;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  show(): Record<string, unknown> {
    const { address, window } = this.config;
    return {
      name: this.config.name,
      address: `${address.host}:${address.port}`,
      state: this.up ? 'bound' : this.#stopped ? 'stopped' : 'down',
      since: this.up ? new Date(this.#boundAt).toISOString() : '',
      'in flight': `${this.#inFlight} of ${window}`,
      rate: this.#pace.describe(),
      submitted: this.submitted,
      'last error': this.lastError,
    };
  }

  /** Submits a short message. Rejects with AnswerLost (in doubt) or NotSent. A throttled one is sent again here. */
  submit(fields: Record<string, unknown>): Promise<Submitted> {
    return new Promise((resolve, reject) => {
      if (!this.up) return reject(new NotSent(this.lastError || 'not bound'));
      this.#waiting.push({ fields, resolve, reject });
      this.#flow();
    });
  }

  #flow(): void {
    while (this.#sender && this.#waiting.length > 0 && this.#inFlight < this.config.window) {
      const wait = this.#pace.take(Date.now());
      if (wait > 0) {
        this.#paceTimer ??= setTimeout(() => {
          this.#paceTimer = null;
          this.#flow();
        }, wait);
        return;
      }
      void this.#send(this.#waiting.shift()!, this.#sender);
    }
  }

  async #send(entry: Entry, link: Link): Promise<void> {
    this.#inFlight++;
    try {
      const answer = await link.request('submit_sm', entry.fields);
      if (answer.command_status === status.throttled && !this.#stopped) {
        this.#parts.throttled();
        this.#pace.throttled(Date.now());
        if (this.#sender) this.#waiting.unshift(entry);
        else entry.reject(new NotSent(this.lastError));
      } else {
        if (answer.command_status === status.ok) this.#pace.accepted(Date.now());
        this.submitted++;
        entry.resolve({ status: answer.command_status, message: messageId(answer) });
      }
    } catch (error) {
      entry.reject(error as AnswerLost);
    } finally {
      this.#inFlight--;
      this.#flow();
      this.#parts.changed();
    }
  }

  async #bind(): Promise<void> {
    if (this.#binding || this.#stopped) return;
    this.#binding = true;
    const roles: Role[] =
      this.config.bind === 'separate'
        ? ['transmitter', 'receiver']
        : [this.config.bind as 'transceiver' | 'transmitter'];
    try {
      for (const role of roles) {
        const socket = await this.#parts.connect(this.config);
        const link = await Link.bind(socket, role, this.config, {
          delivered: pdu => this.#parts.delivered(pdu),
          closed: reason => this.#closed(link, reason),
        });
        this.#links.push(link);
        if (this.#stopped) throw new Error('the bridge stops');
      }
      if (this.#links.length < roles.length) throw new Error(this.lastError);
      this.#boundAt = Date.now();
      this.#sender = this.#links[0];
      this.lastError = '';
      this.#parts.log.info({ smsc: this.config.name }, 'bound');
      this.#binding = false;
      this.#parts.changed();
    } catch (error) {
      this.#binding = false;
      this.#down((error as Error).message);
    }
  }

  #closed(link: Link, reason: string): void {
    this.#links = this.#links.filter(one => one !== link);
    if (this.#binding) this.lastError = reason;
    else this.#down(reason);
  }

  /** Ends what is left of the connection and plans the next one. */
  #down(reason: string): void {
    const stable = this.#sender !== null && Date.now() - this.#boundAt >= this.#reconnecting.stable;
    this.#sender = null;
    this.lastError = reason;
    for (const link of this.#links.splice(0)) link.destroy(reason);
    if (this.#stopped) return;
    this.#giveBack(reason);
    if (this.#timer) return;
    if (stable) this.#pause = this.#reconnecting.first;
    const pause = this.#pause * (0.75 + Math.random() / 2);
    this.#pause = Math.min(this.#pause * 2, this.#reconnecting.most);
    this.#parts.log.warn({ smsc: this.config.name, reason, pause: Math.round(pause) }, 'not bound');
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.#bind();
    }, pause);
    this.#parts.changed();
  }

  #giveBack(reason: string): void {
    for (const { reject } of this.#waiting.splice(0)) reject(new NotSent(reason));
  }
}

// A client connection in an attacker's hands: bytes out, text in, through TLS and SASL as far as the attack needs.
import assert from 'node:assert/strict';
import { createConnection, type Socket } from 'node:net';
import { connect as connectTls, type TLSSocket } from 'node:tls';
import { ns } from '../../src/xmpp/namespaces.ts';
import { plainMessage } from '../../src/xmpp/sasl/plain.ts';
import { until } from './until.ts';

/** How far a client has come. */
export type ClientState = 'plain' | 'tls' | 'authenticated' | 'bound';

export interface AttackerOptions {
  port: number;
  domain: string;
  user: string;
  password: string;
  /** The address it comes from. */
  from?: string;
}

export class ClientAttacker {
  socket: Socket | TLSSocket;
  text = '';
  ended = false;
  readonly #options: AttackerOptions;

  constructor(socket: Socket, options: AttackerOptions) {
    this.socket = socket;
    this.#options = options;
    this.#listen();
  }

  static async connect(options: AttackerOptions): Promise<ClientAttacker> {
    const { port, from = '127.0.0.1' } = options;
    const socket = createConnection({ host: '127.0.0.1', port, localAddress: from });
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new ClientAttacker(socket, options);
  }

  /** Connects and goes as far as this state, properly. */
  static async in(state: ClientState, options: AttackerOptions): Promise<ClientAttacker> {
    const attacker = await ClientAttacker.connect(options);
    await attacker.opens();
    if (state === 'plain') return attacker;
    await attacker.startsTls();
    if (state === 'tls') return attacker;
    await attacker.authenticates();
    if (state === 'bound') await attacker.binds();
    return attacker;
  }

  send(xml: string | Uint8Array): void {
    this.socket.write(xml);
  }

  header(attributes = `to='${this.#options.domain}' version='1.0'`): string {
    return `<?xml version='1.0'?><stream:stream xmlns='${ns.client}' xmlns:stream='${ns.streams}' ${attributes}>`;
  }

  async opens(): Promise<void> {
    this.send(this.header());
    await this.gets(/<\/stream:features>/);
    this.text = '';
  }

  /** Waits for what matches; fails with all that came where the stream ends or nothing comes. */
  async gets(wanted: RegExp): Promise<string> {
    await until(() => wanted.test(this.text) || this.ended).catch(() => {});
    assert.match(this.text, wanted);
    return this.text;
  }

  async startsTls(): Promise<void> {
    this.send(`<starttls xmlns='${ns.tls}'/>`);
    await this.gets(/proceed/);
    this.socket.removeAllListeners('data');
    const secured = connectTls({
      socket: this.socket,
      rejectUnauthorized: false,
      servername: this.#options.domain,
    });
    await new Promise((resolve, reject) => secured.once('secureConnect', resolve).once('error', reject));
    this.socket = secured;
    this.text = '';
    this.#listen();
    await this.opens();
  }

  async authenticates(): Promise<void> {
    const { user, password } = this.#options;
    this.send(auth('PLAIN', plainMessage(user, password)));
    await this.gets(/<success/);
    this.text = '';
    await this.opens();
  }

  async binds(resource = ''): Promise<void> {
    this.send(bind(resource));
    await this.gets(/<jid>/);
    this.text = '';
  }

  destroy(): void {
    this.socket.destroy();
  }

  #listen(): void {
    this.socket.on('data', data => {
      this.text += data;
    });
    this.socket.on('error', () => {});
    this.socket.on('close', () => {
      this.ended = true;
    });
  }
}

/** `<auth/>` with this message, given as bytes or as the text it carries. */
export function auth(mechanism: string, message: Uint8Array | string): string {
  const text = typeof message === 'string' ? message : Buffer.from(message).toString('base64');
  return `<auth xmlns='${ns.sasl}' mechanism='${mechanism}'>${text}</auth>`;
}

export function bind(resource = ''): string {
  return `<iq type='set' id='bind'><bind xmlns='${ns.bind}'>${resource ? `<resource>${resource}</resource>` : ''}</bind></iq>`;
}

// Clients and components that cost the load generator next to nothing: they log in, write bytes, and count bytes.
import { createHash } from 'node:crypto';
import { createConnection, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { ScramClient } from '../../src/xmpp/sasl/scram.ts';

export interface Account {
  host: string;
  port: number;
  domain: string;
  user: string;
  resource: string;
  tls: boolean;
  /** Registers the account first (XEP-0077). */
  register?: boolean;
  /** Stays unavailable: what it costs is the session alone, not the presence of an account's other sessions. */
  quiet?: boolean;
  /** Logs in with SCRAM-SHA-1 instead of PLAIN: what it costs the server is not the hashing of a password. */
  scram?: boolean;
  /** Asks for the roster before it becomes available. */
  roster?: boolean;
}

export interface Connection {
  readonly jid: string;
  socket: Socket;
  /** Called with what comes once the login is over. */
  onData: (data: Buffer) => void;
}

const password = 'secret';
const patience = 30_000;

/** A conversation of the login: writes, and waits for a text to come. */
class Talk {
  socket: Socket;
  #seen = '';
  #wanted: { text: string; resolve: (seen: string) => void; reject: (error: Error) => void } | null = null;

  constructor(socket: Socket) {
    this.socket = socket;
    this.listen(socket);
  }

  listen(socket: Socket): void {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on('data', this.#take);
    socket.on('error', this.#fail);
    socket.on('close', () => this.#fail(new Error('the connection was closed')));
  }

  /** Stops listening, for the connection to be handed on. */
  leave(): void {
    this.socket.off('data', this.#take);
  }

  ask(text: string, answer: string): Promise<string> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#fail(new Error('no answer')), patience);
      const done =
        <T>(f: (value: T) => void) =>
        (value: T) => {
          clearTimeout(timer);
          f(value);
        };
      this.#wanted = { text: answer, resolve: done(resolve), reject: done(reject) };
      this.socket.write(text);
    });
  }

  readonly #take = (data: Buffer) => {
    this.#seen += data.toString('latin1');
    if (!this.#wanted || !this.#seen.includes(this.#wanted.text)) return;
    const { resolve } = this.#wanted;
    const seen = this.#seen;
    this.#seen = '';
    this.#wanted = null;
    resolve(seen);
  };

  readonly #fail = (error: Error) => {
    this.#wanted?.reject(new Error(`${error.message}; wanted ${this.#wanted.text}, had ${this.#seen.slice(-500)}`));
    this.#wanted = null;
  };
}

function header(ns: string, to: string): string {
  const streams = 'http://etherx.jabber.org/streams';
  return `<?xml version='1.0'?><stream:stream xmlns='${ns}' xmlns:stream='${streams}' to='${to}' version='1.0'>`;
}

/** Logs in with PLAIN, binds and becomes available. */
export async function login(account: Account): Promise<Connection> {
  const { host, port, domain, user, resource, tls, register, quiet, scram, roster } = account;
  const open = header('jabber:client', domain);
  const talk = new Talk(createConnection({ host, port }));
  await talk.ask(open, '</stream:features>');
  if (tls) {
    await talk.ask(`<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>`, 'proceed');
    talk.leave();
    const secure = connectTls({ socket: talk.socket, servername: domain, rejectUnauthorized: false });
    await new Promise((resolve, reject) => secure.once('secureConnect', resolve).once('error', reject));
    talk.listen(secure);
    await talk.ask(open, '</stream:features>');
  }
  if (register) {
    const query = `<query xmlns='jabber:iq:register'><username>${user}</username><password>${password}</password></query>`;
    const answer = await talk.ask(`<iq type='set' id='r'>${query}</iq>`, 'iq');
    if (!/type=.result/.test(answer) && !answer.includes('conflict')) throw new Error(answer);
  }
  if (scram) await authenticateByScram(talk, user);
  else await authenticateByPlain(talk, user);
  await talk.ask(open, '</stream:features>');
  const bind = `<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>${resource}</resource></bind>`;
  await talk.ask(`<iq type='set' id='b'>${bind}</iq>`, '</iq>');
  if (roster) await talk.ask("<iq type='get' id='ros'><query xmlns='jabber:iq:roster'/></iq>", '</iq>');
  if (!quiet) await talk.ask('<presence/>', '<presence');
  return handOver(talk, `${user}@${domain}/${resource}`);
}

async function authenticateByScram(talk: Talk, user: string): Promise<void> {
  const client = new ScramClient({ hash: 'SHA-1', user, password, binding: null });
  const sasl = "xmlns='urn:ietf:params:xml:ns:xmpp-sasl'";
  const encode = (bytes: Uint8Array) => Buffer.from(bytes).toString('base64');
  const seen = await talk.ask(`<auth ${sasl} mechanism='SCRAM-SHA-1'>${encode(client.first())}</auth>`, '</challenge>');
  const challenge = Buffer.from(/<challenge[^>]*>([^<]*)/.exec(seen)?.[1] ?? '', 'base64');
  await talk.ask(`<response ${sasl}>${encode(await client.final(challenge))}</response>`, '<success');
}

async function authenticateByPlain(talk: Talk, user: string): Promise<void> {
  const plain = Buffer.from(`\0${user}\0${password}`).toString('base64');
  await talk.ask(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`, '<success');
}

/** Connects as a component (XEP-0114). */
export async function connectComponent(host: string, port: number, domain: string): Promise<Connection> {
  const talk = new Talk(createConnection({ host, port }));
  const answer = await talk.ask(header('jabber:component:accept', domain), '>');
  const id = /id=['"]([^'"]+)/.exec(answer)?.[1] ?? '';
  await talk.ask(
    `<handshake>${createHash('sha1')
      .update(id + password)
      .digest('hex')}</handshake>`,
    'handshake',
  );
  return handOver(talk, `echo@${domain}`);
}

function handOver(talk: Talk, jid: string): Connection {
  talk.leave();
  const { socket } = talk;
  const connection: Connection = { jid, socket, onData: () => {} };
  socket.on('data', data => connection.onData(data));
  socket.on('error', () => {});
  return connection;
}

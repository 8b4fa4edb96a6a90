// A stand-in for drachtio-server, which no package registry here has: its wire protocol over real sockets, SIP on the other side.
import { randomUUID } from 'node:crypto';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { NetworkCarrier } from '../../src/bridges/sip/carrier.ts';
import { ClientTransactions } from '../../src/bridges/sip/clients.ts';
import { randomToken } from '../../src/bridges/sip/core.ts';
import { splitList } from '../../src/bridges/sip/fields.ts';
import type { Flow } from '../../src/bridges/sip/flow.ts';
import { Locator } from '../../src/bridges/sip/locate.ts';
import { type Header, type Message, responseHeaders, writeResponse } from '../../src/bridges/sip/message.ts';
import type { Draft, Reply } from '../../src/bridges/sip/sender.ts';
import { type Incoming, noteSource, ServerTransactions } from '../../src/bridges/sip/servers.ts';
import { Transports, transportTimes } from '../../src/bridges/sip/transports.ts';
import { parseUri } from '../../src/bridges/sip/uri.ts';
import { contactIn } from '../../src/bridges/sip/watcher.ts';
import { engineConfig, enginePort } from './sip-engine.ts';

interface Dialog {
  callId: string;
  localTag: string;
  remoteTag: string;
  local: string;
  remote: string;
  target: string;
  routes: string[];
  sequence: number;
}

/** One application's connection. */
interface App {
  socket: Socket;
  routes: Set<string>;
}

export interface StandIn {
  /** Where applications connect. */
  readonly port: number;
  /** The port of its SIP side. */
  sipPort(protocol: string): number;
  /** How many requests applications have had sent. */
  readonly sent: number;
  /** Drops the applications' connections and takes no new ones, as if the server had died. */
  die(): Promise<void>;
  close(): Promise<void>;
}

/** Starts it. It overrules the Call-IDs and tags that applications wish for, so that none relies on them. */
export async function startDrachtio(secret: string): Promise<StandIn> {
  const port = enginePort();
  const config = engineConfig('{ domains: [sip.test], listen: ["udp:127.0.0.1:0", "tcp:127.0.0.1:0"] }');
  const times = { t1: 500, t2: 4000, t4: 5000 };
  const clients = new ClientTransactions(times);
  const servers = new ServerTransactions(times, () => Promise.reject(new Error('the connection is gone')));
  const transports = new Transports(
    config,
    port,
    {
      message: (message, flow) =>
        message.isRequest ? fromNetwork(message, noteSource(message, flow)) : clients.receive(message),
      garbage: () => {},
      closed: flow => clients.lost(flow),
    },
    transportTimes,
  );
  const carrier = new NetworkCarrier({
    locator: new Locator(port.resolver, new Map()),
    transports,
    clients,
    agent: 'drachtio stand-in',
  });
  const apps = new Set<App>();
  const dialogs = new Map<string, Dialog>();
  const waiting = new Map<string, Incoming>();
  let sent = 0;
  await transports.start();

  const frame = (app: App, text: string) => {
    const whole = `${randomUUID()}|${text}`;
    app.socket.write(`${Buffer.byteLength(whole)}#${whole}`);
  };
  const now = () => new Date().toISOString().slice(11, 23);
  const textOf = (start: string, headers: readonly Header[], body: Uint8Array) =>
    `${start}\r\n${headers.map(([name, value]) => `${name}: ${value}`).join('\r\n')}\r\nContent-Length: ${body.length}\r\n\r\n${Buffer.from(body)}`;
  const nameOf = (callId: string, tag: string) => `${callId};from-tag=${tag}`;

  function fromNetwork(request: Message, flow: Flow): void {
    if (request.method === 'ACK') return;
    servers.receive(request, flow, incoming => {
      const app = [...apps].find(one => one.routes.has(request.method.toLowerCase()));
      if (!app || request.fault) return refuse(incoming, request.fault?.status ?? 503);
      const id = randomUUID();
      waiting.set(id, incoming);
      const dialogId = request.toTag ? nameOf(request.callId, request.toTag) : '';
      const dialog = dialogs.get(dialogId);
      if (dialog && !dialog.remoteTag) {
        // A NOTIFY that overtakes the 200 makes the dialog (RFC 6665 §4.1.2.4).
        Object.assign(dialog, { remoteTag: request.fromTag, target: contactIn(request)?.uri.text ?? dialog.target });
      }
      const headers = request.headers.filter(([name]) => name !== 'content-length');
      const text = textOf(`${request.method} ${request.uriText} SIP/2.0`, headers, request.body);
      const { address, port: from } = flow.remote;
      frame(
        app,
        `sip|network|${text.length}|${flow.protocol}|${address}|${from}|${now()}|${id}|${dialog ? dialogId : ''}|127.0.0.1|5060|\r\n${text}`,
      );
    });
  }

  function refuse(incoming: Incoming, status: number): void {
    incoming.answer(status, writeResponse(status, 'Refused', responseHeaders(incoming.request, randomToken())));
  }

  /** `sip|txnId|⏎SIP/2.0 …`: an application's answer. */
  function answer(app: App, id: string, transaction: string, head: string, body: Buffer): void {
    const incoming = waiting.get(transaction);
    const found = /^SIP\/2\.0 ([0-9]{3}) ?(.*)/.exec(head);
    if (!incoming || !found) return frame(app, `response|${id}|NOK|Unknown transaction`);
    waiting.delete(transaction);
    const status = Number(found[1]);
    const { request, flow } = incoming;
    const tag = randomToken();
    const headers = [...responseHeaders(request, tag), ...appHeaders(head)];
    let dialogId = '';
    const contact = contactIn(request);
    if (request.method === 'SUBSCRIBE' && status < 300) {
      headers.push(['Contact', `<sip:${flow.local.address}:${flow.local.port};transport=${flow.protocol}>`]);
      dialogId = nameOf(request.callId, request.toTag || tag);
      if (!request.toTag && contact) {
        dialogs.set(dialogId, {
          callId: request.callId,
          localTag: tag,
          remoteTag: request.fromTag,
          local: request.header('to')!,
          remote: `<${request.from.uri.text}>`,
          target: contact.uri.text,
          routes: request.headersOf('record-route').flatMap(splitList),
          sequence: 0,
        });
      }
    }
    incoming.answer(status, writeResponse(status, found[2], headers, body));
    const text = textOf(`SIP/2.0 ${status} ${found[2]}`, headers, body);
    frame(
      app,
      `response|${id}|OK|application|${text.length}|${flow.protocol}|${flow.remote.address}|${flow.remote.port}|${now()}|${transaction}|${dialogId}|Msg sent:|\r\n${text}`,
    );
  }

  /** `sip|txnId|dialogId[|proxy]⏎METHOD …`: an application's request. */
  async function request(
    app: App,
    id: string,
    dialogId: string,
    proxy: string,
    head: string,
    body: Buffer,
  ): Promise<void> {
    const found = /^(\S+) (\S+) SIP\/2\.0/.exec(head);
    const known = dialogs.get(dialogId);
    if (!found || (dialogId && !known)) return frame(app, `response|${id}|NOK|unable to find dialog`);
    const [method, uri] = [found[1], found[2]];
    const get = (name: string) => appHeaders(head, false).find(([one]) => one === name)?.[1] ?? '';
    const dialog: Dialog = known ?? {
      callId: `${randomToken()}@drachtio`,
      localTag: randomToken(),
      remoteTag: '',
      local: get('from').replace(/;tag=[^;]*$/, '') || '<sip:localhost>',
      remote: get('to') || `<${uri}>`,
      target: uri,
      routes: proxy ? [`<${proxy};lr>`] : [],
      sequence: 0,
    };
    const made = nameOf(dialog.callId, dialog.localTag);
    if (method === 'SUBSCRIBE' && !known) dialogs.set(made, dialog);
    const transaction = randomUUID();
    const draft: Draft = {
      method,
      uri: known ? dialog.target : uri,
      routes: dialog.routes,
      from: dialog.local,
      fromTag: dialog.localTag,
      to: dialog.remote,
      toTag: dialog.remoteTag,
      callId: dialog.callId,
      nextSequence: () => ++dialog.sequence,
      contactUser: method === 'MESSAGE' ? null : (parseUri(uri)?.user ?? ''),
      headers: appHeaders(head),
      body,
    };
    sent++;
    const echo: Header[] = [
      ['Via', 'SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKecho'],
      ['From', `${dialog.local};tag=${dialog.localTag}`],
      ['To', dialog.remote],
      ['Call-ID', dialog.callId],
      ['CSeq', `${dialog.sequence + 1} ${method}`],
    ];
    const text = textOf(`${method} ${draft.uri} SIP/2.0`, echo, body);
    frame(
      app,
      `response|${id}|OK|application|${text.length}|udp|127.0.0.1|5060|${now()}|${transaction}|Msg sent:|\r\n${text}`,
    );
    const reply = await carrier.carry(draft, [], null);
    deliver(app, transaction, made, dialog, draft, reply);
  }

  function deliver(
    app: App,
    transaction: string,
    made: string,
    dialog: Dialog,
    draft: Draft,
    { outcome }: Reply,
  ): void {
    let headers: Header[] = [
      ['Via', 'SIP/2.0/UDP 127.0.0.1;branch=z9hG4bKlocal'],
      ['From', `${draft.from};tag=${draft.fromTag}`],
      ['To', draft.to],
      ['Call-ID', draft.callId],
      ['CSeq', `${dialog.sequence} ${draft.method}`],
    ];
    let [status, reason, body] = [outcome.kind === 'silence' ? 408 : 503, 'No answer', new Uint8Array(0)];
    let dialogId = '';
    if (outcome.kind === 'answered') {
      const { response } = outcome;
      ({ status, reason } = response);
      body = new Uint8Array(response.body);
      headers = response.headers.filter(([name]) => name !== 'content-length') as Header[];
      if (draft.method === 'SUBSCRIBE' && status < 300) {
        dialogId = made;
        if (!dialog.remoteTag)
          Object.assign(dialog, { remoteTag: response.toTag, target: contactIn(response)?.uri.text ?? dialog.target });
      }
    }
    const text = textOf(`SIP/2.0 ${status} ${reason}`, headers, body);
    frame(
      app,
      `sip|network|${text.length}|udp|127.0.0.1|5060|${now()}|${transaction}|${dialogId}|127.0.0.1|5060|\r\n${text}`,
    );
  }

  function take(app: App, text: string): void {
    const line = text.indexOf('\r\n');
    const [id, type, ...words] = (line < 0 ? text : text.slice(0, line)).split('|');
    const rest = line < 0 ? '' : text.slice(line + 2);
    const blank = rest.indexOf('\r\n\r\n');
    const [head, body] = [rest.slice(0, blank), Buffer.from(rest.slice(blank + 4))];
    if (type === 'authenticate') {
      const places = transports.addresses.map(place => place.replace(':', '/')).join(',');
      if (words[0] === secret) frame(app, `response|${id}|OK|${places}|v0.9.0|127.0.0.1`);
      else frame(app, `response|${id}|NOK|incorrect secret`);
    } else if (type === 'route') {
      app.routes.add(words[0].toLowerCase());
      frame(app, `response|${id}|OK`);
    } else if (type === 'ping') frame(app, `response|${id}|OK`);
    else if (type === 'sip' && head.startsWith('SIP/2.0')) answer(app, id, words[0], head, body);
    else if (type === 'sip') void request(app, id, words[1] ?? '', words[2] ?? '', head, body);
  }

  const server: Server = createServer(socket => {
    const app: App = { socket, routes: new Set() };
    apps.add(app);
    let bytes = Buffer.alloc(0);
    socket.on('error', () => {});
    socket.on('close', () => apps.delete(app));
    socket.on('data', chunk => {
      bytes = Buffer.concat([bytes, chunk]);
      for (let mark = bytes.indexOf('#'); mark > 0; mark = bytes.indexOf('#')) {
        const end = mark + 1 + Number(bytes.toString('latin1', 0, mark));
        if (bytes.length < end) return;
        take(app, bytes.toString('utf8', mark + 1, end));
        bytes = bytes.subarray(end);
      }
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));

  const die = async (): Promise<void> => {
    for (const { socket } of apps) socket.destroy();
    if (server.listening) await new Promise(resolve => server.close(resolve));
  };
  return {
    port: (server.address() as AddressInfo).port,
    sipPort: protocol =>
      Number(
        transports.addresses
          .find(place => place.startsWith(`${protocol}:`))!
          .split(':')
          .at(-1),
      ),
    get sent() {
      return sent;
    },
    die,
    async close() {
      await die();
      clients.stop();
      servers.stop();
      await transports.stop();
      port.close();
    },
  };
}

/** The headers of an application's message, without those that the server writes. */
function appHeaders(head: string, filtered = true): Header[] {
  const server = new Set(['via', 'from', 'to', 'call-id', 'cseq', 'content-length', 'contact', 'max-forwards']);
  return head
    .split('\r\n')
    .slice(1)
    .map(line => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()] as const)
    .filter(([name]) => name !== '' && !(filtered && server.has(name)));
}

// Server transactions: requests of peers, each handed on once and its answer kept for those that come again (RFC 3261 §17.2.2).
import type { TransactionTimes } from './clients.ts';
import { magic, type NonInviteServerTransaction, serverTransaction } from './core.ts';
import { type Flow, plainAddress } from './flow.ts';
import type { Message } from './message.ts';
import { bareHost } from './uri.ts';

/** A request that waits for its answer, or has it. */
export interface Incoming {
  readonly request: Message;
  readonly flow: Flow;
  /** Sends the final answer; a second one is left out. */
  answer(status: number, bytes: Uint8Array): void;
  readonly answered: boolean;
}

/** What a request turned out to be. */
export type Verdict = 'new' | 'repeated' | 'merged';

const mostKept = 100_000;

class ServerTransaction implements Incoming {
  readonly request: Message;
  readonly flow: Flow;
  readonly key: string;
  readonly mergeKey: string;
  expires = 0;
  response: Uint8Array | null = null;
  readonly #transaction: NonInviteServerTransaction;
  readonly #done: (transaction: ServerTransaction) => void;

  constructor(
    request: Message,
    flow: Flow,
    keys: { key: string; mergeKey: string },
    deliver: (bytes: Uint8Array) => Promise<void>,
    done: (transaction: ServerTransaction) => void,
  ) {
    this.request = request;
    this.flow = flow;
    this.key = keys.key;
    this.mergeKey = keys.mergeKey;
    this.#done = done;
    this.#transaction = serverTransaction(request.branch, flow.protocol, () => deliver(this.response!));
  }

  get answered(): boolean {
    return this.response !== null;
  }

  answer(status: number, bytes: Uint8Array): void {
    if (this.response) return;
    this.response = bytes;
    this.#transaction.receiveResponse(status, '');
    this.#done(this);
  }
}

export class ServerTransactions {
  readonly #times: TransactionTimes;
  readonly #connect: (address: string, port: number) => Promise<Flow>;
  /** Those that wait for their answer. */
  readonly #open = new Map<string, ServerTransaction>();
  /** Over UDP, those that have it, oldest first, until timer J (64·T1). */
  readonly #answered = new Map<string, { response: Uint8Array; expires: number; mergeKey: string }>();
  readonly #merge = new Map<string, string>();
  readonly #sweep: NodeJS.Timeout;
  repeated = 0;

  /** `connect` opens a connection for an answer whose own is gone (RFC 3261 §18.2.2). */
  constructor(times: TransactionTimes, connect: (address: string, port: number) => Promise<Flow>) {
    this.#times = times;
    this.#connect = connect;
    this.#sweep = setInterval(() => this.#forgetOld(), Math.max(20, times.t1));
    this.#sweep.unref();
  }

  get count(): number {
    return this.#open.size;
  }

  /** Takes a request. A new one is given to `handle`; one that came before gets its answer again. */
  receive(request: Message, flow: Flow, handle: (incoming: Incoming, verdict: Verdict) => void): void {
    const key = keyOf(request, flow);
    const kept = this.#answered.get(key);
    if (kept || this.#open.has(key)) {
      this.repeated++;
      if (kept) void this.#deliver(request, flow, kept.response).catch(() => {});
      return;
    }
    const mergeKey = request.toTag ? '' : `${request.fromTag} ${request.callId} ${request.cseq} ${request.cseqMethod}`;
    const merged = mergeKey !== '' && this.#merge.has(mergeKey);
    const transaction = new ServerTransaction(
      request,
      flow,
      { key, mergeKey: merged ? '' : mergeKey },
      bytes => this.#deliver(request, flow, bytes),
      done => this.#settle(done),
    );
    this.#open.set(key, transaction);
    if (!merged && mergeKey) this.#merge.set(mergeKey, key);
    handle(transaction, merged ? 'merged' : 'new');
  }

  /** Whether the request that a CANCEL means is here and has no answer yet. */
  waits(cancel: Message, flow: Flow): boolean {
    const key = keyOf(cancel, flow).slice(0, -'CANCEL'.length);
    return ['MESSAGE', 'SUBSCRIBE', 'PUBLISH', 'REGISTER', 'OPTIONS'].some(method => this.#open.has(key + method));
  }

  stop(): void {
    clearInterval(this.#sweep);
    this.#open.clear();
    this.#answered.clear();
    this.#merge.clear();
  }

  #settle(transaction: ServerTransaction): void {
    this.#open.delete(transaction.key);
    const { key, mergeKey, response, flow } = transaction;
    if (flow.reliable) {
      if (mergeKey) this.#merge.delete(mergeKey);
      return;
    }
    if (this.#answered.size >= mostKept) this.#forget(this.#answered.keys().next().value!);
    this.#answered.set(key, { response: response!, expires: Date.now() + 64 * this.#times.t1, mergeKey });
  }

  #forgetOld(): void {
    const now = Date.now();
    for (const [key, { expires }] of this.#answered) {
      if (expires > now) break;
      this.#forget(key);
    }
  }

  #forget(key: string): void {
    const { mergeKey } = this.#answered.get(key)!;
    this.#answered.delete(key);
    if (mergeKey) this.#merge.delete(mergeKey);
  }

  /** The way back (RFC 3261 §18.2.2, RFC 3581 §4): the connection, or where the datagram came from. */
  async #deliver(request: Message, flow: Flow, bytes: Uint8Array): Promise<void> {
    if (flow.reliable && flow.closed && flow.protocol === 'tcp') {
      const { port } = request.via;
      await (await this.#connect(flow.remote.address, port ?? 5060)).send(bytes);
    } else await flow.send(bytes);
  }
}

/** RFC 3261 §17.2.3: branch, sent-by and method; the whole identity where the branch is none of RFC 3261. */
function keyOf(request: Message, flow: Flow): string {
  const { via, branch } = request;
  const place = `${via.host}:${via.port ?? ''} ${flow.remote.address}`;
  if (branch.startsWith(magic) && branch.length > magic.length) return `${branch} ${place} ${request.cseqMethod}`;
  return `${request.uriText} ${request.fromTag} ${request.toTag} ${request.callId} ${request.cseq} ${request.vias[0]} ${request.cseqMethod}`;
}

/**
 * Notes in the top Via where the request really came from (RFC 3261 §18.2.1, RFC 3581 §4). The flow that an answer
 * takes: for UDP without rport, the port in Via; else the source.
 */
export function noteSource(request: Message, flow: Flow): Flow {
  const { via } = request;
  const source = plainAddress(flow.remote.address);
  const wantsPort = via.params.has('rport');
  if (bareHost(via.host) !== source || wantsPort || via.params.has('received')) {
    let text = request.vias[0].replace(/;[ \t]*(?:received|rport)[ \t]*(?:=[^;,]*)?(?=;|$)/gi, '');
    text += `;received=${source}`;
    if (wantsPort) text += `;rport=${flow.remote.port}`;
    request.vias[0] = text;
  }
  if (flow.reliable || wantsPort || (via.port ?? 5060) === flow.remote.port) return flow;
  return flow.at(via.port ?? 5060);
}

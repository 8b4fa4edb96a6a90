// Client transactions: requests of ours until their final answer, repeated over UDP (RFC 3261 §17.1.2).
import { clientTransaction, type NonInviteClientTransaction, receiveResponse } from './core.ts';
import type { Flow } from './flow.ts';
import type { Message } from './message.ts';

export interface TransactionTimes {
  /** Round-trip time, in ms; the other times of RFC 3261 §17 follow from it. */
  t1: number;
  t2: number;
  t4: number;
}

export const transactionTimes: TransactionTimes = { t1: 500, t2: 4000, t4: 5000 };

/** What became of a request. */
export type Outcome =
  | { kind: 'answered'; response: Message }
  | { kind: 'silence' }
  | { kind: 'unreachable'; reason: string };

interface Pending {
  transaction: NonInviteClientTransaction | null;
  repeat: NodeJS.Timeout | undefined;
  limit: NodeJS.Timeout;
  flow: Flow;
  provisional: boolean;
  /** A 408 of the peer: sip.js reports it as it does silence. */
  timedOutBy: Message | null;
  end(outcome: Outcome): void;
}

export class ClientTransactions {
  readonly #times: TransactionTimes;
  readonly #pending = new Map<string, Pending>();

  constructor(times: TransactionTimes) {
    this.#times = times;
  }

  get count(): number {
    return this.#pending.size;
  }

  /** Sends a request whose top Via has that branch. Resolves with what became of it; never rejects. */
  send(flow: Flow, method: string, branch: string, bytes: Uint8Array, timeout = 64 * this.#times.t1): Promise<Outcome> {
    return new Promise(resolve => {
      const key = `${branch} ${method}`;
      const pending: Pending = {
        transaction: null,
        repeat: undefined,
        limit: setTimeout(() => pending.end({ kind: 'silence' }), timeout),
        flow,
        provisional: false,
        timedOutBy: null,
        end: outcome => {
          if (!this.#pending.delete(key)) return;
          clearTimeout(pending.repeat);
          clearTimeout(pending.limit);
          pending.transaction?.dispose();
          resolve(outcome);
        },
      };
      this.#pending.set(key, pending);
      pending.transaction = clientTransaction(method, flow.protocol, () => flow.send(bytes), {
        response: response => {
          if (response.status < 200) pending.provisional = true;
          else pending.end({ kind: 'answered', response });
        },
        timeout: () =>
          pending.end(pending.timedOutBy ? { kind: 'answered', response: pending.timedOutBy } : { kind: 'silence' }),
        transportError: error => pending.end({ kind: 'unreachable', reason: error.message }),
      });
      if (!flow.reliable) this.#repeat(pending, bytes, this.#times.t1);
    });
  }

  /** Takes a response; false where no request of ours waits for it, as with one that comes twice. */
  receive(response: Message): boolean {
    const pending = this.#pending.get(`${response.branch} ${response.cseqMethod}`);
    if (!pending?.transaction) return false;
    if (response.status === 408) pending.timedOutBy = response;
    receiveResponse(pending.transaction, response);
    return true;
  }

  /** Requests on a connection that is gone will not be answered. */
  lost(flow: Flow): void {
    for (const pending of [...this.#pending.values()]) {
      if (pending.flow === flow) pending.end({ kind: 'unreachable', reason: 'the connection was closed' });
    }
  }

  stop(): void {
    for (const pending of [...this.#pending.values()])
      pending.end({ kind: 'unreachable', reason: 'the engine is stopped' });
  }

  /** Timer E: sends again after T1, 2·T1 … up to T2; every T2 once a provisional answer has come. */
  #repeat(pending: Pending, bytes: Uint8Array, wait: number): void {
    pending.repeat = setTimeout(() => {
      void pending.flow
        .send(bytes)
        .catch((error: Error) => pending.end({ kind: 'unreachable', reason: error.message }));
      this.#repeat(pending, bytes, pending.provisional ? this.#times.t2 : Math.min(2 * wait, this.#times.t2));
    }, wait);
  }
}

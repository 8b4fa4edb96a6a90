// What of sip.js the engine stands on: its transactions and its dialogs, given our messages in place of its own.
//
// sip.js reads a message with a grammar that takes milliseconds, builds headers that let line breaks in, draws branches
// from ten million numbers and matches by branch alone. So none of that is used: the classes here get objects that have
// just what they look at, and every message is read, written and matched by us.
import { hash, randomBytes } from 'node:crypto';
import { Dialog } from 'sip.js/lib/core/dialogs/dialog.js';
import type { DialogState } from 'sip.js/lib/core/dialogs/dialog-state.js';
import type { IncomingRequestMessage } from 'sip.js/lib/core/messages/incoming-request-message.js';
import type { IncomingResponseMessage } from 'sip.js/lib/core/messages/incoming-response-message.js';
import type { OutgoingRequestMessage } from 'sip.js/lib/core/messages/outgoing-request-message.js';
import { NonInviteClientTransaction } from 'sip.js/lib/core/transactions/non-invite-client-transaction.js';
import { NonInviteServerTransaction } from 'sip.js/lib/core/transactions/non-invite-server-transaction.js';
import type { ClientTransactionUser } from 'sip.js/lib/core/transactions/transaction-user.js';
import type { UserAgentCore } from 'sip.js/lib/core/user-agent-core/user-agent-core.js';
import type { Message } from './message.ts';

export { NonInviteClientTransaction, NonInviteServerTransaction };

/** The magic that a branch of RFC 3261 begins with (§8.1.1.7). */
export const magic = 'z9hG4bK';

/** sip.js logs by the line; what is worth a line is logged by us. */
const logger = { debug() {}, log() {}, warn() {}, error() {} };
const loggerFactory = { getLogger: () => logger } as unknown as ClientTransactionUser['loggerFactory'];

let pool = Buffer.alloc(0);
let taken = 0;

/** Random text for branches, tags and Call-IDs: 96 bits from the system's generator, drawn in bulk. */
export function randomToken(): string {
  if (taken + 12 > pool.length) {
    pool = randomBytes(12 * 256);
    taken = 0;
  }
  taken += 12;
  return pool.toString('hex', taken - 12, taken);
}

/** A few characters that stand for a text: equal texts, equal digests. */
export function shortDigest(text: string): string {
  return hash('sha1', text, 'hex').slice(0, 12);
}

export interface ClientEvents {
  response(message: Message): void;
  /** Timer F: nobody answered, or 408 was the answer. */
  timeout(): void;
  transportError(error: Error): void;
}

/** Starts a client transaction; `send` puts the request on the wire and is called at once. */
export function clientTransaction(
  method: string,
  protocol: string,
  send: () => Promise<void>,
  events: ClientEvents,
): NonInviteClientTransaction {
  const request = { method, setViaHeader() {}, toString: () => '' } as unknown as OutgoingRequestMessage;
  return new NonInviteClientTransaction(
    request,
    { protocol, send },
    {
      loggerFactory,
      receiveResponse: message => events.response(message as unknown as Message),
      onRequestTimeout: () => events.timeout(),
      onTransportError: error => events.transportError(error),
    },
  );
}

/** Gives a response to the transaction that it answers. */
export function receiveResponse(transaction: NonInviteClientTransaction, message: Message): void {
  const { status } = message;
  transaction.receiveResponse(Object.assign(message, { statusCode: status }) as unknown as IncomingResponseMessage);
}

/** Starts a server transaction; `send` puts the last response on the wire. */
export function serverTransaction(
  branch: string,
  protocol: string,
  send: () => Promise<void>,
): NonInviteServerTransaction {
  const request = { viaBranch: branch } as unknown as IncomingRequestMessage;
  return new NonInviteServerTransaction(request, { protocol, send }, { loggerFactory });
}

/** What a dialog is made of (RFC 3261 §12.1); URIs and routes as text. */
export interface DialogParts {
  callId: string;
  localTag: string;
  remoteTag: string;
  localUri: string;
  remoteUri: string;
  remoteTarget: string;
  /** In the order in which requests of ours visit them. */
  routes: string[];
  localSequence: number | undefined;
  remoteSequence: number | undefined;
}

/** A dialog of sip.js: it numbers our requests and keeps the peer's in order. The list of dialogs is ours. */
export class TextDialog extends Dialog {
  constructor(parts: DialogParts) {
    super(noCore, {
      id: '',
      early: false,
      callId: parts.callId,
      localTag: parts.localTag,
      remoteTag: parts.remoteTag,
      localSequenceNumber: parts.localSequence,
      remoteSequenceNumber: parts.remoteSequence,
      localURI: parts.localUri,
      remoteURI: parts.remoteUri,
      remoteTarget: parts.remoteTarget,
      routeSet: parts.routes,
      secure: false,
    } as unknown as DialogState);
  }

  /** The next CSeq number of ours (RFC 3261 §12.2.1.1). */
  nextSequence(): number {
    const { dialogState } = this;
    if (dialogState.localSequenceNumber === undefined) dialogState.localSequenceNumber = 1;
    else this.incrementLocalSequenceNumber();
    return dialogState.localSequenceNumber!;
  }

  /** Takes a request of the peer into the dialog; false where it is out of order (RFC 3261 §12.2.2). */
  takes(request: Message): boolean {
    const { remoteSequenceNumber } = this.dialogState;
    if (remoteSequenceNumber !== undefined && request.cseq <= remoteSequenceNumber) return false;
    this.receiveRequest(request as unknown as IncomingRequestMessage);
    return true;
  }

  /** SUBSCRIBE and NOTIFY are target refreshes (RFC 6665 §4.1.2). */
  retarget(uri: string): void {
    (this.dialogState as unknown as { remoteTarget: string }).remoteTarget = uri;
  }

  get localText(): string {
    return this.localURI as unknown as string;
  }

  get remoteText(): string {
    return this.remoteURI as unknown as string;
  }

  get targetText(): string {
    return this.remoteTarget as unknown as string;
  }
}

const noCore = { dialogs: { set() {}, delete() {} } } as unknown as UserAgentCore;

// The few types that the bridge needs of the package smpp, which brings none.
declare module 'smpp' {
  import type { EventEmitter } from 'node:events';
  import type { Server as NetServer, Socket } from 'node:net';

  /** A PDU: its header, and the fields and TLVs of its command by their names in the specification. */
  export class PDU {
    static maxLength: number;
    constructor(command: string | Buffer, fields?: Record<string, unknown>);
    command: string;
    command_id: number;
    command_length: number;
    command_status: number;
    sequence_number: number;
    isResponse(): boolean;
    toBuffer(): Buffer;
    response(fields?: Record<string, unknown>): PDU;
    /** Turns the fields into what users of the package like to see; the bridge reads them as they came. */
    _filter(how: 'decode' | 'encode'): void;
    [field: string]: unknown;
  }

  export interface Session extends EventEmitter {
    readonly socket: Socket;
    send(pdu: PDU, answered?: (answer: PDU) => void): boolean;
    deliver_sm(fields: Record<string, unknown>, answered?: (answer: PDU) => void): boolean;
    close(): void;
    destroy(): void;
  }

  export function createServer(listener: (session: Session) => void): NetServer;
  export function createServer(options: object, listener: (session: Session) => void): NetServer;
}

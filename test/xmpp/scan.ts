// Feeds bytes to a scanner and gathers what comes out, for the tests of this room.
import { StreamError } from '../../src/xmpp/errors.ts';
import { Scanner, type ScannerLimits, type StreamHeader } from '../../src/xmpp/scanner.ts';
import type { Stanza } from '../../src/xmpp/stanza.ts';

export const clientHeader =
  "<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>";
export const serverHeader =
  "<stream:stream xmlns='jabber:server' xmlns:stream='http://etherx.jabber.org/streams' xmlns:db='jabber:server:dialback'>";

/** What a scanner said about some bytes. */
export interface Scanned {
  headers: StreamHeader[];
  stanzas: Stanza[];
  closed: boolean;
  /** The condition of the error that ended it, or ''. */
  error: string;
}

/** Scans portions in turn. Errors that are no StreamErrors are thrown on. */
export function scan(portions: (string | Uint8Array)[], limits: ScannerLimits = { stanzaSize: 262144 }): Scanned {
  const scanned: Scanned = { headers: [], stanzas: [], closed: false, error: '' };
  const scanner = new Scanner(
    {
      streamOpened: header => scanned.headers.push(header),
      stanza: stanza => scanned.stanzas.push(stanza),
      streamClosed: () => {
        scanned.closed = true;
      },
    },
    limits,
  );
  try {
    for (const portion of portions) scanner.push(typeof portion === 'string' ? Buffer.from(portion) : portion);
  } catch (error) {
    if (!(error instanceof StreamError)) throw error;
    scanned.error = error.condition;
  }
  return scanned;
}

/** Scans stanzas on a client's stream and returns them; fails where there is an error. */
export function stanzas(xml: string, header = clientHeader): Stanza[] {
  const scanned = scan([header, xml]);
  if (scanned.error) throw new Error(`${scanned.error} in ${xml}`);
  return scanned.stanzas;
}

/** The one stanza in some XML. */
export function stanza(xml: string, header = clientHeader): Stanza {
  const found = stanzas(xml, header);
  if (found.length !== 1) throw new Error(`${found.length} stanzas in ${xml}`);
  return found[0];
}

/** The bytes one by one. */
export function singly(data: Uint8Array): Uint8Array[] {
  return Array.from(data, (_, at) => data.subarray(at, at + 1));
}

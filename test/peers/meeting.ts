// A hub and a peer that can find and trust each other, with people on both; what the suites about links start from.
import { type Authority, createAuthority, type Issued, selfSigned } from '../support/authority.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';
import { recordsOf } from '../support/partners.ts';
import { startZones, type Zones } from '../support/zones.ts';
import { startEjabberd } from './ejabberd.ts';
import { peerClient } from './people.ts';
import type { Peer } from './process.ts';
import { type PeerOptions, startProsody } from './prosody.ts';

export type PeerName = 'prosody' | 'ejabberd';

export const hubHost = '127.0.0.2';
export const peerHosts: Record<PeerName, string> = { prosody: '127.0.0.3', ejabberd: '127.0.0.4' };
const starts = { prosody: startProsody, ejabberd: startEjabberd };

export interface Meeting {
  readonly authority: Authority;
  readonly zones: Zones;
  readonly hub: TestHub;
  readonly peer: Peer;
  /** On the hub and on the peer. */
  readonly romeo: Client;
  readonly juliet: Client;
  stop(): Promise<void>;
}

export interface MeetingOptions {
  /** Of the hub's configuration: what stands under `federation` besides security, and further top-level keys. */
  federation?: string;
  yaml?: string;
  listen?: Record<string, string>;
  peer?: Partial<PeerOptions>;
  /** The zone; where none is given both are found by SRV records for STARTTLS. */
  zone?: (hub: TestHub, domain: string, address: string) => string | Promise<string>;
  /** Certificates that prove nothing: both sides fall back on dialback. */
  selfSigned?: boolean;
  /** More names on the peer's certificate. */
  names?: string[];
}

/** How a peer is found on the standard port, by STARTTLS. */
export function peerRecords(domain: string, address: string): string {
  return `_xmpp-server._tcp.${domain} 60 IN SRV 5 1 5269 xmpp.${domain}
xmpp.${domain} 60 IN A ${address}`;
}

/** Starts a hub for hub.test and a peer for NAME.test, both with certificates that the other trusts unless asked otherwise. */
export async function startMeeting(name: PeerName, options: MeetingOptions = {}): Promise<Meeting> {
  const domain = `${name}.test`;
  const address = peerHosts[name];
  const authority = await createAuthority();
  const zones = await startZones('');
  const issue = (names: string[]): Promise<Issued> =>
    options.selfSigned ? selfSigned({ names }) : authority.issue({ names, usages: ['serverAuth', 'clientAuth'] });
  const own = await issue(['hub.test']);
  const hub = await startTestHub('{ hub.test: { certificate: domain.crt, key: domain.key } }', {
    host: hubHost,
    listen: options.listen,
    files: { 'ca.crt': authority.certificate, 'domain.crt': own.certificate, 'domain.key': own.key },
    yaml: `tls: { trust: [ca.crt] }
dns: { servers: ["${zones.server.host}:${zones.server.port}"] }
federation: { security: ${options.selfSigned ? 'encrypted' : 'trusted'}, ${options.federation ?? 'queue: { wait: 10s }'} }
${options.yaml ?? ''}`,
  });
  const zone = options.zone ?? (() => `${recordsOf('hub.test', hub, hubHost)}\n${peerRecords(domain, address)}`);
  let peer: Peer | undefined;
  const stop = async () => {
    await peer?.stop();
    await hub.close();
    await zones.close();
  };
  try {
    zones.set(await zone(hub, domain, address));
    peer = await starts[name]({
      address,
      domain,
      mode: options.selfSigned ? 'tls' : 'external',
      dns: zones.server,
      hosts: `${hubHost} xmpp.hub.test hub.test`,
      authority: authority.certificate,
      certificate: await issue([domain, ...(options.names ?? [])]),
      ...options.peer,
    });
    const romeo = await hub.client('romeo@hub.test');
    const juliet = await peerClient(peer, 'juliet');
    return { authority, zones, hub, peer, romeo, juliet, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

const patience = 20_000;
let messages = 0;

/** Sends one message and waits until it has come. */
export async function says(from: Client, to: Client, body = `m${++messages}`): Promise<void> {
  await from.sends(`<message to='${to.jid}' type='chat'><body>${body}</body></message>`);
  await to.hears(body, patience);
}

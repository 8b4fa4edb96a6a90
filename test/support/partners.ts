// Two hubs as partner domains, with a name server between them and certificates from an authority of their own.
import { type Authority, createAuthority, type Issued, type Wanted } from './authority.ts';
import { type HubOptions, startTestHub, type TestHub } from './hubs.ts';
import { startZones, type Zones } from './zones.ts';

export interface Partners {
  readonly capulet: TestHub;
  readonly montague: TestHub;
  readonly zones: Zones;
  readonly authority: Authority;
  close(): Promise<void>;
}

export interface PartnerOptions {
  /** More configuration for both, or for one of them. */
  yaml?: string;
  capulet?: { yaml?: string; certificate?: Issued | Wanted | null; hub?: HubOptions };
  montague?: { yaml?: string; certificate?: Issued | Wanted | null; hub?: HubOptions };
}

/** The SRV records under which a hub is found. */
export function recordsOf(domain: string, hub: TestHub, host = '127.0.0.1'): string {
  const target = `xmpp.${domain}`;
  const direct = hub.listening['s2s-tls'][0];
  return [
    `_xmpp-server._tcp.${domain} 60 IN SRV 5 1 ${hub.listening.s2s[0].port} ${target}`,
    direct ? `_xmpps-server._tcp.${domain} 60 IN SRV 1 1 ${direct.port} ${target}` : '',
    `${target} 60 IN A ${host}`,
  ].join('\n');
}

/** Starts capulet.test and montague.test. Certificates are valid unless other ones are asked for; null: self-signed. */
export async function startPartners(options: PartnerOptions = {}): Promise<Partners> {
  const authority = await createAuthority();
  const zones = await startZones('');
  const start = async (domain: string, own: PartnerOptions['capulet'] = {}): Promise<TestHub> => {
    const wanted = own.certificate === undefined ? { names: [domain] } : own.certificate;
    const issued = wanted === null ? null : 'key' in wanted ? wanted : await authority.issue(wanted);
    const files: Record<string, string> = { 'ca.crt': authority.certificate };
    if (issued) Object.assign(files, { 'domain.crt': issued.certificate, 'domain.key': issued.key });
    return startTestHub(`{ ${domain}: { ${issued ? 'certificate: domain.crt, key: domain.key' : ''} } }`, {
      ...own.hub,
      files: { ...files, ...own.hub?.files },
      yaml: [
        'tls: { trust: [ca.crt] }',
        `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }`,
        own.yaml ?? options.yaml ?? '',
      ].join('\n'),
    });
  };
  const capulet = await start('capulet.test', options.capulet);
  const montague = await start('montague.test', options.montague);
  zones.set(`${recordsOf('capulet.test', capulet)}\n${recordsOf('montague.test', montague)}`);
  return {
    capulet,
    montague,
    zones,
    authority,
    async close() {
      await capulet.close();
      await montague.close();
      await zones.close();
    },
  };
}

// The two places where people meet: on one hub, and on two hubs with a link between them.
import type { Client, ClientOptions } from './client.ts';
import { startTestHub, type TestHub } from './hubs.ts';
import { startPartners } from './partners.ts';
import { startZones } from './zones.ts';

export interface Place {
  /** The domains of the two who meet. */
  readonly domains: readonly [string, string];
  /** Logs somebody in, whose account is made where it is new. */
  client(jid: string, options?: Partial<ClientOptions>): Promise<Client>;
  /** Makes an account that nobody logs in to yet. */
  account(jid: string): Promise<void>;
  hubOf(jid: string): TestHub;
  close(): Promise<void>;
}

const common = 'clients: { require-tls: false }\nlimits: { connections: { per-address: 1000 } }';
const options = { security: 'plain', mechanism: 'PLAIN' } as const;

function place(domains: Place['domains'], hubOf: (jid: string) => TestHub, close: () => Promise<void>): Place {
  return {
    domains,
    client: (jid, more) => hubOf(jid).client(jid, { ...options, ...more }),
    account: async jid => void (await hubOf(jid).accounts.add(jid, 'a password for tests')),
    hubOf,
    close,
  };
}

/** `start` takes more configuration, as YAML. */
export const places: readonly { name: string; start(yaml?: string): Promise<Place> }[] = [
  {
    name: 'on one hub',
    async start(yaml = '') {
      const zones = await startZones('');
      const dns = `dns: { servers: ["${zones.server.host}:${zones.server.port}"] }`;
      const hub = await startTestHub(['hub.test'], { yaml: [common, dns, yaml].join('\n') });
      return place(
        ['hub.test', 'hub.test'],
        () => hub,
        async () => {
          await hub.close();
          await zones.close();
        },
      );
    },
  },
  {
    name: 'over a link',
    async start(yaml = '') {
      const partners = await startPartners({ yaml: `${common}\n${yaml}` });
      const { capulet, montague } = partners;
      return place(
        ['montague.test', 'capulet.test'],
        jid => (jid.includes('@capulet.test') ? capulet : montague),
        () => partners.close(),
      );
    },
  },
];

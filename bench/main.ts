// The bench: the hub, ejabberd and Prosody (where they are installed) do the same work in one run.
import { parseArgs } from 'node:util';
import { createAuthority } from '../test/support/authority.ts';
import { startZones } from '../test/support/zones.ts';
import { scenarios } from './load/scenarios.ts';
import { type Security, servers, startHubProcess } from './load/servers.ts';

const usage = `npm run bench -- [--seconds N] [--only NAME] [--security plain|tls] [SCENARIO…]
BENCH_YAML in the environment is added to the hub's configuration: BENCH_YAML='modules: { archive: true }'
scenarios: ${scenarios.map(({ name }) => name).join(', ')}`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seconds: { type: 'string', default: '5' },
    only: { type: 'string' },
    security: { type: 'string' },
    help: { type: 'boolean' },
  },
});
const chosen = positionals.length > 0 ? scenarios.filter(({ name }) => positionals.includes(name)) : scenarios;
if (values.help || chosen.length === 0) {
  console.log(usage);
  process.exit(values.help ? 0 : 2);
}

const authority = await createAuthority();
const zones = await startZones('');
const surroundings = {
  zones,
  authority: authority.certificate,
  issue: (domain: string) => authority.issue({ names: [domain], usages: ['serverAuth', 'clientAuth'] }),
};
const securities = (['plain', 'tls'] as const).filter(one => values.security === undefined || one === values.security);

interface Line {
  scenario: string;
  security: Security;
  server: string;
  figures: Record<string, number>;
}

const lines: Line[] = [];
for (const security of securities) {
  for (const kind of servers(surroundings)) {
    if (values.only && !kind.name.startsWith(values.only)) continue;
    zones.set(`_xmpp-server._tcp.sut.test 60 IN SRV 5 1 5269 xmpp.sut.test
xmpp.sut.test 60 IN A ${kind.host}
sut.test 60 IN A ${kind.host}
_xmpp-server._tcp.partner.test 60 IN SRV 5 1 5269 xmpp.partner.test
xmpp.partner.test 60 IN A 127.0.0.5
partner.test 60 IN A 127.0.0.5`);
    const partner = await startHubProcess(surroundings, security, 'partner.test', '127.0.0.5');
    const server = await kind.start(security);
    try {
      for (const scenario of chosen) {
        const figures = await scenario.run({ server, partner, security, seconds: Number(values.seconds) });
        if (!figures) continue;
        lines.push({ scenario: scenario.name, security, server: kind.name, figures });
        print(lines.at(-1)!);
      }
    } catch (error) {
      console.log(`${kind.name}: ${(error as Error).message}`);
    } finally {
      await server.stop();
      await partner.stop();
    }
  }
}
await zones.close();
summary();
process.exit(0);

function print({ scenario, security, server, figures }: Line): void {
  const text = Object.entries(figures).map(
    ([name, value]) => `${value >= 100 ? value.toFixed(0) : value.toFixed(2)} ${name}`,
  );
  console.log(`${scenario.padEnd(16)} ${security.padEnd(6)} ${server.padEnd(16)} ${text.join('   ')}`);
}

/** How the hub stands against the better of the others, by the first figure of each scenario. */
function summary(): void {
  console.log('\nthe hub against the better of the others');
  for (const { scenario, security, figures } of lines.filter(({ server }) => server === 'isthmus')) {
    const [name, own] = Object.entries(figures)[0];
    const others = lines
      .filter(one => one.scenario === scenario && one.security === security && one.server !== 'isthmus')
      .map(one => one.figures[name]);
    if (others.length > 0) {
      console.log(
        `${scenario.padEnd(16)} ${security.padEnd(6)} ${(own / Math.min(...others)).toFixed(2)} of its ${name}`,
      );
    }
  }
}

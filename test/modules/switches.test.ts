// Every module can be off for a domain: then nothing of it is announced there, and nothing of it answers.
import assert from 'node:assert/strict';
import { Kernel } from '../../src/hub/hub.ts';
import type { IqScope } from '../../src/hub/module.ts';
import type { Service } from '../../src/hub/services.ts';
import { moduleNames } from '../../src/modules/index.ts';
import { el } from '../../src/xmpp/element.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { conditionOf } from '../support/capable.ts';
import type { Client } from '../support/client.ts';
import { startTestHub, type TestHub } from '../support/hubs.ts';

interface Registered {
  iqs: { ns: string; name: string; scope: IqScope }[];
  features: { domain: Set<string>; account: Set<string> };
  commands: string[];
  streamFeatures: Parameters<Kernel['streamFeature']>[0][];
  services: Service[];
}

const all = `{ ${moduleNames.map(name => `${name}: true`).join(', ')} }`;
const domainOf = (module: string) => `${module}.off.test`;

/** Starts a hub that notes what each module registers. */
async function watchedHub(domains: string, yaml: string): Promise<{ hub: TestHub; of: Map<string, Registered> }> {
  const of = new Map<string, Registered>();
  const { iq, feature, command, streamFeature, serve, start } = Kernel.prototype;
  const fresh = (): Registered => ({
    iqs: [],
    features: { domain: new Set(), account: new Set() },
    commands: [],
    streamFeatures: [],
    services: [],
  });
  // What other parts of the hub register before any module starts is nobody's here.
  let current = fresh();
  Object.assign(Kernel.prototype, {
    start(this: Kernel, module: Parameters<typeof start>[0]) {
      current = fresh();
      of.set(module.name, current);
      return start.call(this, module);
    },
    iq(this: Kernel, ...args: Parameters<typeof iq>) {
      current.iqs.push({ ns: args[0], name: args[1], scope: args[2] });
      iq.apply(this, args);
    },
    feature(this: Kernel, kind: 'domain' | 'account', ...features: string[]) {
      for (const one of features) current.features[kind].add(one);
      feature.call(this, kind, ...features);
    },
    command(this: Kernel, ...args: Parameters<typeof command>) {
      current.commands.push(args[0].node);
      command.apply(this, args);
    },
    streamFeature(this: Kernel, what: Parameters<typeof streamFeature>[0]) {
      current.streamFeatures.push(what);
      streamFeature.call(this, what);
    },
    serve(this: Kernel, service: Service) {
      current.services.push(service);
      serve.call(this, service);
    },
  });
  try {
    return { hub: await startTestHub(domains, { yaml }), of };
  } finally {
    Object.assign(Kernel.prototype, { iq, feature, command, streamFeature, serve, start });
  }
}

describe('a module that is off for a domain', () => {
  let hub: TestHub;
  let of: Map<string, Registered>;
  const clients = new Map<string, Client>();
  before(async () => {
    const hosted = moduleNames.map(name => {
      const domain = domainOf(name);
      return `${domain}: { admins: [juliet@${domain}], modules: { ${name}: false } }`;
    });
    const on = 'on.test: { admins: [juliet@on.test] }';
    ({ hub, of } = await watchedHub(
      `{ ${on}, ${hosted.join(', ')} }`,
      `modules: ${all}\nclients: { registration: true }`,
    ));
    for (const domain of ['on.test', ...moduleNames.map(domainOf)]) {
      clients.set(domain, await hub.client(`juliet@${domain}`, { quiet: true }));
    }
  });
  after(() => hub.close());

  const featuresOf = async (client: Client, to: string) => {
    const answer = await client.asks('get', `<query xmlns='${ns.discoInfo}'/>`, to);
    return new Set(
      answer
        .child('query', ns.discoInfo)
        ?.all('feature')
        .map(({ attrs }) => attrs.var) ?? [],
    );
  };
  const commandsOf = async (client: Client, domain: string) => {
    const answer = await client.asks('get', `<query xmlns='${ns.discoItems}' node='${ns.commands}'/>`, domain);
    return (
      answer
        .child('query', ns.discoItems)
        ?.all('item')
        .map(({ attrs }) => attrs.node) ?? []
    );
  };

  it('is one that `isthmus modules` lists', () => {
    assert.deepEqual([...of.keys()], moduleNames);
    const registered = [...of.values()].flatMap(({ iqs }) => iqs);
    assert.ok(registered.length > 30, String(registered.length));
  });

  for (const module of moduleNames) {
    it(`${module}: it is neither announced nor answering`, async () => {
      const domain = domainOf(module);
      const client = clients.get(domain)!;
      const on = clients.get('on.test')!;
      const own = of.get(module)!;
      const others = [...of].filter(([name]) => name !== module).map(([, registered]) => registered);
      for (const kind of ['domain', 'account'] as const) {
        const [off, there] = await Promise.all([
          featuresOf(client, kind === 'domain' ? domain : `juliet@${domain}`),
          featuresOf(on, kind === 'domain' ? 'on.test' : 'juliet@on.test'),
        ]);
        for (const feature of own.features[kind]) {
          assert.ok(there.has(feature), `${feature} of ${module} is not announced where it is on`);
          const shared = others.some(({ features }) => features[kind].has(feature));
          assert.equal(off.has(feature), shared && module !== 'disco', `${feature} of ${kind}`);
        }
      }
      for (const iq of own.iqs) {
        if (others.some(({ iqs }) => iqs.some(other => other.ns === iq.ns && other.name === iq.name))) continue;
        const to =
          iq.scope === 'domain' ? [domain] : iq.scope === 'any' ? [domain, `juliet@${domain}`] : [`juliet@${domain}`];
        for (const address of to) {
          for (const type of ['get', 'set'] as const) {
            const answer = await client.asks(type, String(el(iq.name, iq.ns)), address);
            assert.equal(conditionOf(answer), 'service-unavailable', `${type} ${iq.name} ${iq.ns} to ${address}`);
          }
        }
      }
      for (const what of own.streamFeatures) {
        const { name, ns: space } = (typeof what === 'function' ? what('on.test') : what)!;
        assert.ok(on.features.child(name, space), `${name} is no stream feature where ${module} is on`);
        assert.equal(client.features.child(name, space), null, name);
      }
      for (const service of own.services) {
        const served = service.domains(hub.config);
        assert.ok(served.some(name => name.endsWith('.on.test')));
        assert.ok(!served.some(name => name.endsWith(`.${domain}`)), domain);
      }
      if (own.commands.length === 0) return;
      const [listed, offered] = await Promise.all([commandsOf(client, domain), commandsOf(on, 'on.test')]);
      for (const node of own.commands) {
        assert.ok(!listed.includes(node), node);
        assert.ok(offered.length > 0);
        const run = `<command xmlns='${ns.commands}' node='${node}' action='execute'/>`;
        const refused = conditionOf(await client.asks('set', run, domain));
        assert.match(refused, /^(item-not-found|feature-not-implemented|service-unavailable)$/, node);
      }
    });
  }
});

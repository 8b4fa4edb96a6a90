// An SMS bridge by itself: a port that remembers what it was given, a store in memory, pauses that are short.
import type { BridgePort } from '../../../src/bridges/bridge.ts';
import { SmsBridge } from '../../../src/bridges/sms/bridge.ts';
import { readSmsConfig } from '../../../src/bridges/sms/settings.ts';
import { parseConfig } from '../../../src/hub/config.ts';
import { silentLog } from '../../../src/hub/log.ts';
import { createMetrics } from '../../../src/hub/metrics.ts';
import { parseSettings } from '../../../src/hub/settings.ts';
import type { Store } from '../../../src/hub/store.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { el } from '../../../src/xmpp/element.ts';
import { Jid } from '../../../src/xmpp/jid.ts';
import { ns } from '../../../src/xmpp/namespaces.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';

export interface TestBridge {
  readonly bridge: SmsBridge;
  readonly store: Store;
  /** What the bridge handed to XMPP. */
  readonly received: Stanza[];
  readonly port: BridgePort;
  /** A chat from romeo@hub.test, unless another sender is named. */
  chat(number: string, body: string, id?: string, from?: string): Promise<void>;
  /** The value of a counter, all labels added up. */
  count(name: string): Promise<number>;
  /** Resolves when `condition` holds. Rejects after the deadline. */
  waits(condition: () => boolean | Promise<boolean>, what: string, deadline?: number): Promise<void>;
  queue(...args: string[]): Promise<unknown>;
  close(): Promise<void>;
}

/** The settings of the section `sms`, from YAML lines of their own indentation. */
export function settings(yaml: string) {
  const indented = yaml.replace(/^/gm, '  ');
  return readSmsConfig(parseSettings(`sms:\n  kind: sms\n${indented}`, 'test.yaml').section('sms'));
}

/** Starts a bridge with one SMSC on a port, and what else the YAML says. */
export async function startBridge(
  ports: number | readonly number[],
  yaml = '',
  store = openMemory(),
): Promise<TestBridge> {
  const listed = [ports].flat().map((port, i) => `  s${i}: { address: "127.0.0.1:${port}", system-id: isthmus, SMSC }`);
  const own = /^smsc-keys: (.*)$/m.exec(yaml)?.[1] ?? 'window: 10';
  const text = [
    'domain: sms.hub.test',
    'sender: "15550001111"',
    'prefix: ""',
    ...(yaml.includes('smscs:') ? [] : ['smscs:', ...listed.map(line => line.replace('SMSC', own))]),
    ...(yaml.includes('retry:') ? [] : ['retry: 20ms']),
    yaml.replace(/^smsc-keys: .*$/m, ''),
  ].join('\n');
  const received: Stanza[] = [];
  const metrics = createMetrics();
  const port: BridgePort = {
    domains: ['sms.hub.test'],
    receive: stanza => void received.push(stanza),
    config: parseConfig('domains: { hub.test: {} }', 'test.yaml'),
    store,
    directory: () => undefined,
    resolver: { addresses: async (address: string) => [{ address, family: 4 }] } as unknown as BridgePort['resolver'],
    log: silentLog(),
    metrics,
    refusal: () => null,
    ask: async request => request.error('item-not-found'),
    inside: {
      online: () => false,
      hosts: domain => domain === 'hub.test',
      onOffline() {},
      onRemoved() {},
      setPresence() {},
      http() {},
    },
  };
  const bridge = new SmsBridge(settings(text), port, { first: 20, most: 200, stable: 500 });
  await bridge.start();
  const test: TestBridge = {
    bridge,
    store,
    received,
    port,
    chat: (number, body, id = '', from = 'romeo@hub.test/orchard') =>
      bridge.send(
        Stanza.of(
          'message',
          { from: Jid.parse(from), to: Jid.parse(`${number}@sms.hub.test`), id, type: 'chat' },
          el('body', ns.client, {}, body),
          id ? el('request', ns.receipts) : null,
        ),
      ),
    async count(name) {
      const lines = (await metrics.text()).split('\n').filter(line => line.startsWith(`isthmus_sms_${name}{`));
      return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
    },
    async waits(condition, what, deadline = 4_000) {
      const end = Date.now() + deadline;
      while (!(await condition())) {
        if (Date.now() > end) throw new Error(`waited in vain for ${what}: ${JSON.stringify(bridge.show())}`);
        await new Promise(resolve => setTimeout(resolve, 5));
      }
    },
    queue: async (...args) => bridge.commands.queue.run(args),
    async close() {
      await bridge.stop();
      metrics.close();
    },
  };
  return test;
}

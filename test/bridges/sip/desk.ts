// A SIP bridge between a fake engine and a fake XMPP side, both in memory: what its unit tests sit at.
import { SipBridge } from '../../../src/bridges/sip/bridge.ts';
import { readSipConfig } from '../../../src/bridges/sip/config.ts';
import { silentLog } from '../../../src/hub/log.ts';
import { createMetrics, type Metrics } from '../../../src/hub/metrics.ts';
import { parseSettings } from '../../../src/hub/settings.ts';
import type { Store } from '../../../src/hub/store.ts';
import { openMemory } from '../../../src/store/sqlite.ts';
import { StanzaError } from '../../../src/xmpp/errors.ts';
import { parseElement } from '../../../src/xmpp/payload.ts';
import { Stanza } from '../../../src/xmpp/stanza.ts';
import { FakeEngine } from './fake-engine.ts';

export interface Desk {
  engine: FakeEngine;
  bridge: SipBridge;
  store: Store;
  metrics: Metrics;
  /** What the bridge has said to XMPP and nobody has looked at. */
  told: string[];
  /** What the XMPP side answers, in the course of taking a stanza. */
  reacts: (stanza: Stanza) => string | undefined;
  /** A domain that the operator has denied. */
  denied: string;
  /** XMPP sends this; what the bridge refuses comes back as text. */
  xmpp(xml: string): Promise<string>;
  /** Waits until there are so many, and takes them out. */
  hears(count?: number): Promise<string[]>;
  /** Waits until a condition holds. */
  until(condition: () => boolean, what?: string): Promise<void>;
  close(): Promise<void>;
}

export async function sit(yaml = '', store: Store = openMemory(), users = ['juliet', 'romeo']): Promise<Desk> {
  const engine = new FakeEngine();
  const told: string[] = [];
  const metrics = createMetrics();
  const section = parseSettings(`domains: [sip.test]\nlisten: ["udp:127.0.0.1:0"]\n${yaml}`, 'test.yaml');
  const desk: Desk = {
    engine,
    store,
    metrics,
    told,
    reacts: () => undefined,
    denied: '',
    bridge: new SipBridge(
      readSipConfig(section),
      {
        domains: ['sip.test'],
        receive: async stanza => {
          told.push(stanza.toString());
          const reaction = desk.reacts(stanza);
          if (reaction) await desk.xmpp(reaction);
        },
        config: {} as never,
        store,
        directory: domain =>
          domain === 'hub.test'
            ? ({ find: (user: string) => (users.includes(user) ? { user } : null) } as never)
            : undefined,
        resolver: {} as never,
        refusal: domain => (desk.denied === domain ? 'denied' : null),
        log: silentLog(),
        metrics,
        ask: () => Promise.reject(new Error('nobody asks here')),
        inside: { hosts: (domain: string) => domain === 'hub.test' } as never,
      },
      engine,
    ),
    xmpp: async xml => {
      const stanza = Stanza.from(parseElement(xml.replace(/^<(\w+)/, "<$1 xmlns='jabber:client'")));
      try {
        await desk.bridge.send(stanza);
        return '';
      } catch (error) {
        if (error instanceof StanzaError) return `${error.condition}: ${error.text}`;
        throw error;
      }
    },
    hears: async (count = 1) => {
      await desk.until(() => told.length >= count, `${count} stanzas`);
      return told.splice(0, count);
    },
    until: async (condition, what = 'a condition') => {
      const end = Date.now() + 3000;
      while (!condition()) {
        if (Date.now() > end) throw new Error(`waited in vain for ${what}; told: ${told.join('\n')}`);
        await new Promise(resolve => setImmediate(resolve));
      }
    },
    close: async () => {
      await desk.bridge.stop();
      metrics.close();
    },
  };
  await desk.bridge.start();
  return desk;
}

/** A PIDF document with one open device. */
export function pidf(show = '', id = 'desk'): string {
  const extension = show ? `<show xmlns='jabber:client'>${show}</show>` : '';
  return `<presence xmlns='urn:ietf:params:xml:ns:pidf' entity='x'><tuple id='${id}'><status><basic>open</basic>${extension}</status></tuple></presence>`;
}

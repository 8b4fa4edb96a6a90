// Two hubs with three domains, the links between them, and how one knows that everything that was said is done.
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Client } from '../../support/client.ts';
import { startTestHub, type TestHub } from '../../support/hubs.ts';
import { logTo } from '../../support/log.ts';
import { recordsOf } from '../../support/partners.ts';
import { startZones, type Zones } from '../../support/zones.ts';

export const hosted = [['north.test', 'south.test'], ['far.test']];
export const domains = hosted.flat();
const yaml = `cross-domain: { policy: open }
clients: { require-tls: false }
limits: { connections: { per-address: 1000 }, rate: { c2s: 0 } }`;

export class Places {
  readonly hubs: TestHub[] = [];
  /** What the hubs have logged as errors. */
  readonly faults: string[] = [];
  readonly witnesses = new Map<string, Client>();
  #zones!: Zones;
  #marks = 0;

  async start(): Promise<void> {
    this.#zones = await startZones('');
    const dns = `dns: { servers: ["${this.#zones.server.host}:${this.#zones.server.port}"] }`;
    const log = logTo(line => void this.faults.push(line), 'error');
    for (const names of hosted) this.hubs.push(await startTestHub(names, { yaml: `${yaml}\n${dns}`, log }));
    this.#zones.set(domains.map(domain => recordsOf(domain, this.hub(domain))).join('\n'));
    for (const domain of domains) await this.witness(domain);
  }

  async close(): Promise<void> {
    for (const hub of this.hubs) await hub.close();
    await this.#zones.close();
  }

  hub(domain: string): TestHub {
    return this.hubs[hosted.findIndex(names => names.includes(domain))];
  }

  login(jid: string, resource?: string): Promise<Client> {
    const hub = this.hub(jid.slice(jid.indexOf('@') + 1));
    return hub.client(jid, { security: 'plain', mechanism: 'PLAIN', quiet: true, resource });
  }

  /** Somebody in each domain whose messages show that those before them have come. */
  async witness(domain: string): Promise<void> {
    this.witnesses.set(domain, await this.login(`witness@${domain}`));
  }

  async restart(at: number): Promise<void> {
    this.hubs[at] = await this.hubs[at].restart();
    for (const domain of hosted[at]) await this.witness(domain);
  }

  /** Resolves when all that was said is done, as far as what follows from that goes: there and back and there again. */
  async settle(): Promise<void> {
    for (let round = 0; round < 4; round++) {
      for (const { hub } of this.hubs) await hub.store.durable();
      await nextTurn();
      const [near, [far]] = hosted;
      await Promise.all(near.flatMap(domain => [this.#crosses(domain, far), this.#crosses(far, domain)]));
    }
  }

  async #crosses(from: string, to: string): Promise<void> {
    const body = `mark ${++this.#marks}`;
    const taker = this.witnesses.get(to)!;
    await this.witnesses.get(from)!.sends(`<message to='${taker.jid}'><body>${body}</body></message>`);
    await taker.hears(body);
  }
}

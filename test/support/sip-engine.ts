// SIP engines for tests: configured as the bridge would, on ports of their own, with short times where a test wants them.
import type { EngineHandler, SipAnswer, SipRequest, SubscriptionIn } from '../../src/bridges/sip/engine.ts';
import { type EngineConfig, type EnginePort, readEngineConfig } from '../../src/bridges/sip/settings.ts';
import { createResolver, type Resolver } from '../../src/hub/dns.ts';
import { silentLog } from '../../src/hub/log.ts';
import { createMetrics } from '../../src/hub/metrics.ts';
import { parseSettings } from '../../src/hub/settings.ts';

/** An engine's configuration from YAML. */
export function engineConfig(yaml: string): EngineConfig {
  return readEngineConfig(parseSettings(yaml, 'test.yaml'));
}

export function enginePort(more: Partial<EnginePort> = {}): EnginePort & { close(): void } {
  const metrics = createMetrics();
  const resolver: Resolver = more.resolver ?? createResolver({ servers: [] });
  return {
    resolver,
    log: silentLog(),
    metrics,
    trust: [],
    data: '.',
    connections: { perAddress: 1000, total: 10_000 },
    ...more,
    close() {
      metrics.close();
      resolver.close();
    },
  };
}

/** A handler that keeps what it is given and answers as it is told. */
export class RecordingHandler implements EngineHandler {
  readonly requests: SipRequest[] = [];
  readonly subscriptions: SubscriptionIn[] = [];
  answer: (request: SipRequest) => SipAnswer | Promise<SipAnswer> = () => ({ status: 200 });
  accept: (request: SipRequest, subscription: SubscriptionIn) => SipAnswer | Promise<SipAnswer> = () => ({
    status: 200,
  });

  async message(request: SipRequest): Promise<SipAnswer> {
    this.requests.push(request);
    return this.answer(request);
  }

  publish(request: SipRequest): Promise<SipAnswer> {
    return this.message(request);
  }

  async subscribe(request: SipRequest, subscription: SubscriptionIn): Promise<SipAnswer> {
    this.requests.push(request);
    this.subscriptions.push(subscription);
    return this.accept(request, subscription);
  }
}

/** Resolves once the condition holds; rejects after `patience` ms. */
export async function until(holds: () => boolean, patience = 3000): Promise<void> {
  const end = Date.now() + patience;
  while (!holds()) {
    if (Date.now() > end) throw new Error('it did not come to pass in time');
    await new Promise(resolve => setTimeout(resolve, 5));
  }
}

// What a SIP bridge counts, for each of its SIP domains.
import type { CounterHandle, Metrics } from '../../hub/metrics.ts';

/** What crossed, and how: `isthmus_sip_messages_total{domain,direction,outcome}` and its kin. */
export class Counts {
  readonly #metrics: Metrics;
  readonly #handles = new Map<string, CounterHandle>();

  constructor(metrics: Metrics) {
    this.#metrics = metrics;
  }

  /** A message to or from a SIP domain, by what became of it: `delivered`, `refused`, `failed`. */
  message(domain: string, direction: 'in' | 'out', outcome: string): void {
    this.#add(
      'isthmus_sip_messages_total',
      'Messages across the SIP bridge',
      ['domain', 'direction', 'outcome'],
      [domain, direction, outcome],
    );
  }

  /** A change of presence that crossed. */
  presence(domain: string, direction: 'in' | 'out'): void {
    this.#add(
      'isthmus_sip_presence_total',
      'Changes of presence across the SIP bridge',
      ['domain', 'direction'],
      [domain, direction],
    );
  }

  /** What became of a presence subscription: `asked`, `granted`, `refused`, `ended`, `failed`. */
  subscription(domain: string, direction: 'in' | 'out', event: string): void {
    this.#add(
      'isthmus_sip_subscription_events_total',
      'What became of presence subscriptions across the SIP bridge',
      ['domain', 'direction', 'event'],
      [domain, direction, event],
    );
  }

  #add(name: string, help: string, labels: readonly string[], values: string[]): void {
    const key = `${name} ${values.join(' ')}`;
    let handle = this.#handles.get(key);
    if (!handle) this.#handles.set(key, (handle = this.#metrics.counter(name, help, labels).bind(...values)));
    handle.add();
  }
}

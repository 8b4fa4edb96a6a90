// The metrics of the SMS bridges.
import type { CounterHandle, Metrics } from '../../hub/metrics.ts';
import type { SmsQueue } from './queue.ts';
import type { Smsc } from './smsc.ts';

/** What a gauge looks at. */
interface Observed {
  bridge: string;
  queue: SmsQueue;
  smscs: () => readonly Smsc[];
}

/** All bridges that report to the same metrics share their gauges. */
const observed = new WeakMap<Metrics, Set<Observed>>();

export class Counts {
  readonly submitted: CounterHandle;
  readonly accepted: CounterHandle;
  readonly throttled: CounterHandle;
  readonly delivered: CounterHandle;
  readonly segments: CounterHandle;
  readonly forwarded: CounterHandle;
  readonly received: CounterHandle;
  readonly duplicates: CounterHandle;
  readonly setAside: CounterHandle;
  readonly strayReceipts: CounterHandle;
  readonly #failed: (reason: string) => CounterHandle;
  readonly #refused: (reason: string) => CounterHandle;
  readonly #entry: Observed;
  readonly #all: Set<Observed>;

  constructor(metrics: Metrics, bridge: string, queue: SmsQueue, smscs: () => readonly Smsc[]) {
    const one = (name: string, help: string) =>
      metrics.counter(`isthmus_sms_${name}_total`, help, ['bridge']).bind(bridge);
    this.submitted = one('submitted', 'Short messages taken for sending');
    this.accepted = one('accepted', 'Short messages that an SMSC has taken');
    this.throttled = one('throttled', 'Times that an SMSC said ESME_RTHROTTLED');
    this.delivered = one('delivered', 'Short messages that reached the phone, by their receipts');
    this.segments = one('segments', 'Segments of the messages that an SMSC has taken: what is paid for');
    this.forwarded = one('forwarded', 'Messages for offline users that went to their phones');
    this.received = one('received', 'Messages from phones');
    this.duplicates = one('possible_duplicates', 'Messages whose answer was lost, so that they may arrive twice');
    this.setAside = one('set_aside', 'Messages set aside after too many lost answers');
    this.strayReceipts = one('stray_receipts', 'Receipts for messages that are not known');
    const failed = metrics.counter('isthmus_sms_failed_total', 'Messages that failed, by reason', ['bridge', 'reason']);
    const refused = metrics.counter('isthmus_sms_refused_total', 'Messages not taken, by reason', ['bridge', 'reason']);
    const capped = metrics.capped(50);
    this.#failed = reason => failed.bind(bridge, capped(reason));
    this.#refused = reason => refused.bind(bridge, reason);
    this.#entry = { bridge, queue, smscs };
    this.#all = observed.get(metrics) ?? observe(metrics);
    this.#all.add(this.#entry);
  }

  failed(reason: string): void {
    this.#failed(reason).add();
  }

  refused(reason: string): void {
    this.#refused(reason).add();
  }

  close(): void {
    this.#all.delete(this.#entry);
  }
}

function observe(metrics: Metrics): Set<Observed> {
  const all = new Set<Observed>();
  observed.set(metrics, all);
  metrics.gauge('isthmus_sms_queue', 'Short messages that wait or are under way', ['bridge'], set => {
    for (const { bridge, queue } of all) set(queue.length, bridge);
  });
  metrics.gauge('isthmus_sms_queue_set_aside', 'Short messages that were set aside', ['bridge'], set => {
    for (const { bridge, queue } of all) set(queue.setAside, bridge);
  });
  metrics.gauge('isthmus_sms_queue_age_seconds', 'Age of the message that has waited longest', ['bridge'], set => {
    for (const { bridge, queue } of all) {
      const oldest = queue.oldest();
      set(oldest === null ? 0 : (Date.now() - oldest) / 1000, bridge);
    }
  });
  metrics.gauge('isthmus_sms_bound', 'Whether an SMSC of the configuration is bound', ['bridge', 'smsc'], set => {
    for (const { bridge, smscs } of all) for (const smsc of smscs()) set(smsc.up ? 1 : 0, bridge, smsc.config.name);
  });
  return all;
}

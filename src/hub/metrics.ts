// Metrics for Prometheus: counters that cost an addition on hot paths and are collected when somebody asks.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** One labelled series of a counter. */
export interface CounterHandle {
  value: number;
  add(n?: number): void;
}

export interface CounterFamily {
  /** The series with these label values, in the order in which the labels were named. */
  bind(...values: string[]): CounterHandle;
}

/** Sets the gauge for label values; called for each series when the metrics are asked for. */
export type SetGauge = (value: number, ...labels: string[]) => void;

export interface Metrics {
  readonly registry: Registry;
  /** A counter; asking again for the same name gives the same one. Names begin with `isthmus_`. */
  counter(name: string, help: string, labels?: readonly string[]): CounterFamily;
  /** A gauge that is read when the metrics are asked for. */
  gauge(name: string, help: string, labels: readonly string[], collect: (set: SetGauge) => void): void;
  histogram(name: string, help: string, buckets: readonly number[]): { observe(value: number): void };
  /** Caps the cardinality of a label: the first `most` values keep their names, later ones become `other`. */
  capped(most: number): (value: string) => string;
  /** All metrics in the text format of Prometheus. */
  text(): Promise<string>;
  close(): void;
}

class Handle implements CounterHandle {
  value = 0;
  add(n = 1): void {
    this.value += n;
  }
}

export function createMetrics(): Metrics {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry, prefix: 'isthmus_', eventLoopMonitoringPrecision: 20 });
  const delay = monitorEventLoopDelay({ resolution: 20 });
  delay.enable();
  const families = new Map<string, CounterFamily>();
  const histograms = new Map<string, Histogram>();

  const metrics: Metrics = {
    registry,
    counter(name, help, labels = []) {
      const known = families.get(name);
      if (known) return known;
      const handles = new Map<string, { labels: string[]; handle: Handle }>();
      new Counter({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        collect() {
          this.reset();
          for (const { labels: values, handle } of handles.values()) this.inc(record(labels, values), handle.value);
        },
      });
      const family: CounterFamily = {
        bind: (...values) => {
          const key = values.join('\0');
          let entry = handles.get(key);
          if (!entry) handles.set(key, (entry = { labels: values, handle: new Handle() }));
          return entry.handle;
        },
      };
      families.set(name, family);
      return family;
    },
    gauge(name, help, labels, collect) {
      new Gauge({
        name,
        help,
        labelNames: [...labels],
        registers: [registry],
        collect() {
          this.reset();
          collect((value, ...values) => this.set(record(labels, values), value));
        },
      });
    },
    histogram(name, help, buckets) {
      const known = histograms.get(name);
      if (known) return known;
      const histogram = new Histogram({ name, help, buckets: [...buckets], registers: [registry] });
      histograms.set(name, histogram);
      return histogram;
    },
    capped(most) {
      const named = new Set<string>();
      return value => {
        if (named.has(value)) return value;
        if (named.size >= most) return 'other';
        named.add(value);
        return value;
      };
    },
    text: () => registry.metrics(),
    close: () => {
      delay.disable();
      registry.clear();
    },
  };
  metrics.gauge(
    'isthmus_event_loop_delay_seconds',
    'Delay of the event loop since the last scrape',
    ['quantile'],
    set => {
      for (const quantile of [50, 99]) set(delay.percentile(quantile) / 1e9, String(quantile / 100));
      set(delay.max / 1e9, '1');
      delay.reset();
    },
  );
  return metrics;
}

function record(names: readonly string[], values: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name, i) => [name, values[i] ?? '']));
}

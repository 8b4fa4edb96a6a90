// The thread that expands series: one job after the other, each answered by its number.
import { parentPort } from 'node:worker_threads';
import { expandSeries, type Series, type Span } from './series.ts';

export interface Job {
  id: number;
  series: Series;
}

export interface Answer {
  id: number;
  spans?: Span[];
  error?: string;
}

parentPort?.on('message', ({ id, series }: Job) => {
  let answer: Answer;
  try {
    answer = { id, spans: expandSeries(series) };
  } catch (error) {
    answer = { id, error: (error as Error).message.slice(0, 200) };
  }
  parentPort?.postMessage(answer);
});

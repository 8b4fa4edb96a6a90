// `isthmus sms queue …`: what operators see of the queue and do with it.
import { UsageError } from '../../hub/admin.ts';
import type { Outbound } from './outbound.ts';
import { flag, type SmsQueue, timeOf } from './queue.ts';

/** The most that a listing shows. */
const longest = 10_000;

export const queueHelp = 'queue list [waiting|aside|sent|all] | show ID | retry ID…|all | drop ID…';

/** Runs `queue` with its arguments. Throws UsageError. */
export async function runQueue(
  args: readonly string[],
  queue: SmsQueue,
  outbound: Outbound,
  durable: () => Promise<void>,
  wake: () => void,
): Promise<unknown> {
  const [verb, ...rest] = args;
  switch (verb) {
    case 'list': {
      const [which = 'all'] = rest;
      if (!['waiting', 'aside', 'sent', 'all'].includes(which) || rest.length > 1) throw usage();
      return queue.list(which as 'all', longest);
    }
    case 'show': {
      if (rest.length !== 1) throw usage();
      const found = find(queue, rest[0]);
      const { id, flags, due, done, ...shown } = found;
      return {
        id: rest[0],
        ...shown,
        taken: new Date(timeOf(id)).toISOString(),
        due: new Date(due).toISOString(),
        'parts sent': done,
        forwarded: (flags & flag.forwarded) !== 0,
        'possible duplicate': (flags & flag.twice) !== 0,
      };
    }
    case 'retry': {
      if (rest.length === 0) throw usage();
      const count = queue.again(rest[0] === 'all' ? 'all' : rest.map(text => find(queue, text).id));
      await durable();
      wake();
      return `${count} messages are tried again`;
    }
    case 'drop': {
      if (rest.length === 0) throw usage();
      const found = rest.map(text => find(queue, text));
      const busy = found.find(({ state }) => state === 'under way');
      if (busy) throw new Error(`${busy.id.toString(36)} is under way and cannot be dropped now`);
      for (const message of found) {
        await outbound.giveUp(message, 'dropped', 'an operator dropped it');
      }
      await durable();
      return `${found.length} messages are dropped, their senders know`;
    }
    default:
      throw usage();
  }
}

function find(queue: SmsQueue, text: string) {
  const id = /^[0-9a-z]{1,11}$/.test(text) ? Number.parseInt(text, 36) : Number.NaN;
  const found = Number.isSafeInteger(id) ? queue.show(id) : null;
  if (!found) throw new Error(`there is no message ${text} in the queue`);
  return found;
}

function usage(): UsageError {
  return new UsageError(`takes: ${queueHelp}`);
}

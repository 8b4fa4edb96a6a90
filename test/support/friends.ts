// People who see each other's presence, on one hub or on two.
import type { Client } from './client.ts';

/** Subscribes both to each other's presence. */
export async function befriend(one: Client, other: Client): Promise<void> {
  await sees(one, other);
  await sees(other, one);
}

/** `watcher` asks to see `watched`, who lets it. */
export async function sees(watcher: Client, watched: Client): Promise<void> {
  const [from, to] = [watcher, watched].map(({ options }) => options.jid);
  for (const client of [watcher, watched]) await client.asks('get', `<query xmlns='jabber:iq:roster'/>`);
  await watcher.sends(`<presence to='${to}' type='subscribe'/>`);
  await watched.receives(e => e.attrs.type === 'subscribe' && e.attrs.from === from);
  await watched.sends(`<presence to='${from}' type='subscribed'/>`);
  await watcher.receives(e => e.attrs.type === 'subscribed' && e.attrs.from === to);
}

// A bridge in a process of its own, to be killed: takes messages as lines on standard input, and says which are kept.
import { createInterface } from 'node:readline';
import { openSqlite } from '../../../src/store/sqlite.ts';
import { startBridge } from './harness.ts';

const [path, port, yaml = ''] = process.argv.slice(2);
const bridge = await startBridge(Number(port), yaml, openSqlite(path));
console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  if (line === 'list') {
    // What is under way is not among what was sent, though the SMSC may have it.
    await bridge.waits(() => bridge.bridge.show().queue === 0, 'an empty queue', 8_000);
    console.log(`list ${JSON.stringify(await bridge.queue('list', 'sent'))}`);
    continue;
  }
  const { number, body, id } = JSON.parse(line) as { number: string; body: string; id: string };
  void bridge.chat(number, body, id).then(() => console.log(`kept ${id}`));
}
await bridge.close();
await bridge.store.close();

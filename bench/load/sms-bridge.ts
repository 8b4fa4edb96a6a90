// The SMS bridge with its store in a process of its own: sends messages as fast as they are kept, or takes up a queue.
import { openSqlite } from '../../src/store/sqlite.ts';
import { startBridge } from '../../test/bridges/sms/harness.ts';

const [path, port, count, atOnce] = process.argv.slice(2).map((word, i) => (i === 0 ? word : Number(word))) as [
  string,
  number,
  number,
  number,
];
const yaml = `smsc-keys: window: 100\nlimits: { queue: -1 }\nvalidity: 7d`;
const began = performance.now();
const bridge = await startBridge(port, yaml, openSqlite(path));
process.send?.({ started: (performance.now() - began) / 1000 });

const cpu = process.cpuUsage();
let next = 0;
let kept = 0;
async function send(): Promise<void> {
  while (next < count) {
    const i = next++;
    await bridge.chat(`+1555${String(i % 10_000_000).padStart(7, '0')}`, `message ${i} of the bench`, `b${i}`);
    kept++;
  }
}
await Promise.all(Array.from({ length: atOnce }, send));
await bridge.waits(() => count === 0 || bridge.bridge.show().queue === 0, 'an empty queue', 600_000);
const { user, system } = process.cpuUsage(cpu);
if (count > 0) process.send?.({ kept, cpu: (user + system) / 1e6 });
process.on('message', () => process.send?.({ memory: process.memoryUsage.rss(), queue: bridge.bridge.show().queue }));
process.on('disconnect', () => process.exit());

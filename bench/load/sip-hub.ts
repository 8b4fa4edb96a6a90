// A hub with a SIP bridge in a process of its own, that tells what it uses of processor and memory when it is asked.
import { startHub } from '../../src/composition.ts';
import { parseConfig } from '../../src/hub/config.ts';

const [file, text] = process.argv.slice(2);
const hub = await startHub(parseConfig(text, file));

process.on('message', (wanted: string) => {
  if (wanted === 'stop') void hub.stop().then(() => process.exit(0));
  else {
    (globalThis as { gc?: () => void }).gc?.();
    const { user, system } = process.cpuUsage();
    const { heapUsed, external, rss } = process.memoryUsage();
    process.send?.({ cpu: user + system, memory: heapUsed + external, rss });
  }
});
process.send?.('ready');

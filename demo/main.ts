// `npm run demo`: real hubs, real sockets, real certificates on loopback, and what crosses them as it crosses.
import { startPartners } from '../test/support/partners.ts';
import { calendar } from './scenes/calendar.ts';
import { federation } from './scenes/federation.ts';
import { sip } from './scenes/sip.ts';
import { sms } from './scenes/sms.ts';
import { note, scene } from './transcript.ts';

/** One part of the demo. It rejects unless everything it shows has really happened. */
export interface Scene {
  title: string;
  play(): Promise<void>;
}

/** In the order in which they are shown; a further bridge adds its scene here. */
const scenes: readonly Scene[] = [federation, sip, sms, calendar];

async function stay(): Promise<void> {
  const partners = await startPartners();
  scene('Two hubs stay up until you press Ctrl-C. Log in with any client, for example as:');
  for (const [hub, user] of [
    [partners.capulet, 'juliet@capulet.test'],
    [partners.montague, 'romeo@montague.test'],
  ] as const) {
    await hub.accounts.add(user, 'demo');
    note(`${user}  password demo  server 127.0.0.1  port ${hub.port}  STARTTLS`);
  }
  note('The certificates come from a test authority: have the client accept them.');
  await new Promise(resolve => process.once('SIGINT', resolve));
  await partners.close();
}

const tooLong = setTimeout(() => {
  console.error('\nthe demo took more than a minute; something is stuck');
  process.exit(1);
}, 60_000);

try {
  for (const { play } of scenes) await play();
  clearTimeout(tooLong);
  scene(`Shown: ${scenes.map(({ title }) => title).join(', ')}. Everything above has really happened.`);
  if (process.argv.includes('--stay')) await stay();
  process.exit(0);
} catch (error) {
  console.error(`\nthe demo failed: ${(error as Error).message}`);
  process.exit(1);
}

// `kill -9` at any moment: every message that was kept arrives, and twice only where an answer was lost, and marked so.
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Random } from '../../fuzz/random.ts';
import { TestSmsc } from '../../support/smsc.ts';
import { Victim, waits } from './victim.ts';

const messages = 300;
const kills = 4;

describe('an SMS bridge that is killed', () => {
  it(`delivers ${messages} messages through ${kills} kills`, async () => {
    const random = new Random(20260702);
    const directory = mkdtempSync(join(tmpdir(), 'isthmus-kill-'));
    const arrived = new Map<string, number>();
    const smsc = await TestSmsc.start({
      submit:
        ({ text }) =>
        (session, { pdu, id }) => {
          arrived.set(text, (arrived.get(text) ?? 0) + 1);
          setTimeout(() => session.send(pdu.response({ message_id: id })), random.below(8));
        },
    });
    // Ids must stay unique for all runs of the bridge: they do, the SMSC lives on.
    const kept = new Set<string>();
    const path = join(directory, 'sms.db');
    try {
      for (let life = 0; life <= kills; life++) {
        const victim = new Victim(path, smsc.port, kept);
        await waits(() => victim.ready, 'the bridge');
        // As a client does that got no acknowledgement: what is not known to be kept is sent again, with the same id.
        for (let i = 0; i < messages; i++) {
          if (kept.has(`i${i}`)) continue;
          victim.say(JSON.stringify({ number: `+1555123${String(i).padStart(4, '0')}`, body: `m${i}`, id: `i${i}` }));
        }
        if (life < kills) {
          const before = arrived.size;
          const some = 1 + random.below(messages / kills);
          await waits(() => arrived.size >= Math.min(before + some, messages), 'some to arrive');
          await victim.kill();
          continue;
        }
        await waits(
          () => arrived.size === messages && kept.size === messages,
          `all to arrive (${arrived.size}, ${kept.size})`,
        );
        await waits(() => {
          victim.say('list');
          return (victim.listed?.length ?? 0) === messages;
        }, 'all to be answered');
        const marked = new Set(victim.listed!.filter(row => row['possible duplicate']).map(row => row.number));
        const twice = [...arrived].filter(([, n]) => n > 1);
        for (const [text, n] of twice) {
          assert.ok(n <= 1 + kills, `${text} arrived ${n} times`);
          assert.ok(marked.has(`+1555123${text.slice(1).padStart(4, '0')}`), `${text} arrived twice and is not marked`);
        }
        assert.ok(marked.size <= kills * 20, `${marked.size} are marked`);
        await victim.kill();
      }
    } finally {
      await smsc.close();
      rmSync(directory, { recursive: true, force: true });
    }
  }).timeout(30_000);
});

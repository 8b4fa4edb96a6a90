// The log: JSON lines and text for people, levels, and no secrets.
import assert from 'node:assert/strict';
import { PassThrough } from 'node:stream';
import { createLog } from '../../src/hub/log.ts';

function logging(format: 'auto' | 'json' | 'pretty', level: 'info' | 'debug' = 'info') {
  const stream = new PassThrough();
  const log = createLog({ level, format }, stream);
  return { log, text: () => String(stream.read() ?? '') };
}

describe('the log', () => {
  it('is JSON lines with the level as a word and the time as text', () => {
    const { log, text } = logging('auto');
    log.info({ domain: 'a.test' }, 'hello');
    log.debug('not at this level');
    const line = JSON.parse(text());
    assert.deepEqual([line.level, line.domain, line.msg], ['info', 'a.test', 'hello']);
    assert.ok(Math.abs(Date.parse(line.time) - Date.now()) < 10_000);
  });

  it('is text for people where that is asked for', () => {
    const { log, text } = logging('pretty');
    log.warn({ domain: 'a.test' }, 'careful');
    assert.match(text(), /WARN.*careful/s);
  });

  it('says nothing of secrets, three levels deep', () => {
    const { log, text } = logging('json');
    const secret = { password: 'p-word', secret: 's-word', token: 't-word' };
    log.info({ ...secret, user: secret, request: { headers: { authorization: 'a-word' }, user: secret } }, 'done');
    const line = text();
    assert.doesNotMatch(line, /-word/);
    assert.equal(line.match(/\[secret\]/g)?.length, 10);
  });

  it('can change its level while it runs', () => {
    const { log, text } = logging('json');
    log.level = 'debug';
    log.debug('seen');
    assert.match(text(), /seen/);
  });

  it('shows errors with their cause', () => {
    const { log, text } = logging('json');
    log.error({ err: new Error('outer', { cause: new Error('inner') }) }, 'failed');
    const { err } = JSON.parse(text());
    assert.match(err.message, /outer/);
    assert.match(err.stack, /inner/);
  });
});

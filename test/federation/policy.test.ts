// Who may federate, how securely and how fast: the file, and what an operator changed at run time.
import assert from 'node:assert/strict';
import { covers, Policy } from '../../src/federation/policy.ts';
import { parseConfig } from '../../src/hub/config.ts';
import { openMemory } from '../../src/store/sqlite.ts';

const config = (federation: string) =>
  parseConfig(`domains: { hub.test: {} }\nfederation: ${federation}`, '/etc/my.yaml').federation;
const policyOf = (federation: string, store = openMemory()) => new Policy(() => config(federation), store);

describe('the policy of federation', () => {
  for (const [pattern, domain, expected] of [
    ['spam.test', 'spam.test', true],
    ['spam.test', 'a.spam.test', false],
    ['*.spam.test', 'a.spam.test', true],
    ['*.spam.test', 'b.a.spam.test', true],
    ['*.spam.test', 'spam.test', false],
    ['*.spam.test', 'ham-spam.test', false],
    ['spam.test', 'notspam.test', false],
  ] as const) {
    it(`${pattern} ${expected ? 'covers' : 'does not cover'} ${domain}`, () => {
      assert.equal(covers(pattern, domain), expected);
    });
  }

  for (const [federation, domain, refusal] of [
    ['{}', 'any.test', null],
    ['{ exceptions: [spam.test] }', 'any.test', null],
    ['{ exceptions: [spam.test] }', 'spam.test', /spam\.test is among federation\.exceptions/],
    ['{ exceptions: ["*.spam.test"] }', 'a.spam.test', /among federation\.exceptions/],
    ['{ policy: closed }', 'any.test', /federation\.policy is closed/],
    ['{ policy: closed, exceptions: [bank.test] }', 'bank.test', null],
    ['{ policy: closed, exceptions: [bank.test] }', 'a.bank.test', /is closed and a\.bank\.test is not among/],
  ] as [string, string, RegExp | null][]) {
    it(`${federation}: ${domain} is ${refusal ? 'refused' : 'accepted'}`, () => {
      const said = policyOf(federation).refusal(domain);
      if (refusal) assert.match(said ?? '', refusal);
      else assert.equal(said, null);
    });
  }

  it('has security, address and rate of a partner, and else those of all', () => {
    const policy = policyOf(
      '{ security: encrypted, partners: { bank.test: { security: trusted, address: "10.0.0.7:5299", rate: 1KiB/s } } }',
    );
    assert.deepEqual([policy.security('bank.test'), policy.security('any.test')], ['trusted', 'encrypted']);
    assert.deepEqual(
      [policy.address('bank.test'), policy.address('any.test')],
      [{ host: '10.0.0.7', port: 5299 }, null],
    );
    assert.deepEqual([policy.rate('bank.test'), policy.rate('any.test')], [1024, undefined]);
  });

  it('puts what an operator said before the file, and keeps it', async () => {
    const store = openMemory();
    const first = policyOf('{ exceptions: [spam.test] }', store);
    await first.set('spam.test', true);
    await first.set('*.evil.test', false);
    await first.throttle('slow.test', 100);
    const policy = policyOf('{ exceptions: [spam.test] }', store);
    assert.equal(policy.refusal('spam.test'), null);
    assert.match(policy.refusal('very.evil.test') ?? '', /denied by an operator/);
    assert.equal(policy.refusal('evil.test'), null);
    assert.equal(policy.rate('slow.test'), 100);
    // One domain counts before a wildcard.
    await policy.set('good.evil.test', true);
    assert.equal(policy.refusal('good.evil.test'), null);
    assert.equal(await policy.clear('spam.test'), true);
    assert.equal(await policy.clear('spam.test'), false);
    await policy.throttle('slow.test', null);
    const last = policyOf('{ exceptions: [spam.test] }', store);
    assert.match(last.refusal('spam.test') ?? '', /exceptions/);
    assert.equal(last.rate('slow.test'), undefined);
    assert.deepEqual(last.overrides.map(({ domain }) => domain).sort(), ['*.evil.test', 'good.evil.test']);
    await store.close();
  });
});

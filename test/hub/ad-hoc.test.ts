// Ad-hoc commands: listing, the way from form to result, and who may do what (XEP-0050).
import assert from 'node:assert/strict';
import { AdHocCommands, CommandFailure } from '../../src/hub/ad-hoc.ts';
import { el } from '../../src/xmpp/element.ts';
import { StanzaError } from '../../src/xmpp/errors.ts';
import { formElement, textOf } from '../../src/xmpp/form.ts';
import { Jid } from '../../src/xmpp/jid.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import { Stanza } from '../../src/xmpp/stanza.ts';

const romeo = Jid.parse('romeo@hub.test/orchard');
const juliet = Jid.parse('juliet@hub.test/balcony');
const service = Jid.parse('sms.hub.test');

function request(from: Jid, attrs: Record<string, string>, values?: Record<string, string>): Stanza {
  const fields = Object.entries(values ?? {}).map(([name, value]) => ({ var: name, value }));
  return Stanza.of(
    'iq',
    { from, to: service, id: '1', type: 'set' },
    el('command', ns.commands, attrs, values ? formElement('submit', { fields }) : null),
  );
}

function refused(condition: string, specific?: string) {
  return (error: unknown) =>
    error instanceof StanzaError && error.condition === condition && (error.more?.name ?? undefined) === specific;
}

describe('ad-hoc commands', () => {
  const commands = new AdHocCommands();
  commands.add({ node: 'time', name: 'Tell the time', run: () => 'noon' });
  commands.add({
    node: 'greet',
    name: 'Greet',
    allowed: from => from.local === 'romeo',
    form: () => ({ title: 'Greet', fields: [{ var: 'whom', type: 'text-single', required: true }] }),
    run: values => {
      if (textOf(values, 'whom') === 'myself') throw new StanzaError('not-acceptable', 'whom?');
      if (textOf(values, 'whom') === 'nobody') throw new CommandFailure('there is nobody');
      return `Hello, ${textOf(values, 'whom')}`;
    },
  });

  it('are listed to those who may run them', async () => {
    assert.deepEqual(
      (await commands.list(romeo, service)).map(({ node }) => node),
      ['time', 'greet'],
    );
    assert.deepEqual(
      (await commands.list(juliet, service)).map(({ node }) => node),
      ['time'],
    );
    assert.equal(await commands.nameOf('greet', juliet, service), null);
  });

  it('without a form run at once', async () => {
    const answer = await commands.execute(request(juliet, { node: 'time' }));
    assert.equal(answer.attrs.status, 'completed');
    assert.equal(answer.childText('note'), 'noon');
  });

  it('with a form ask, then do', async () => {
    const asked = await commands.execute(request(romeo, { node: 'greet', action: 'execute' }));
    assert.equal(asked.attrs.status, 'executing');
    assert.equal(asked.child('x', ns.data)?.child('field')?.attrs.var, 'whom');
    const session = { node: 'greet', sessionid: asked.attrs.sessionid };
    await assert.rejects(commands.execute(request(romeo, session, {})), refused('bad-request', 'bad-payload'));
    await assert.rejects(commands.execute(request(romeo, session, { whom: 'myself' })), refused('not-acceptable'));
    const done = await commands.execute(request(romeo, { ...session, action: 'complete' }, { whom: 'Juliet' }));
    assert.equal(done.childText('note'), 'Hello, Juliet');
    await assert.rejects(commands.execute(request(romeo, session, {})), refused('not-allowed', 'session-expired'));
  });

  it('can be canceled', async () => {
    const asked = await commands.execute(request(romeo, { node: 'greet' }));
    const session = { node: 'greet', sessionid: asked.attrs.sessionid };
    assert.equal((await commands.execute(request(romeo, { ...session, action: 'cancel' }))).attrs.status, 'canceled');
    await assert.rejects(commands.execute(request(romeo, session, {})), refused('not-allowed', 'session-expired'));
  });

  it('that fail have completed, with a note of the error', async () => {
    const asked = await commands.execute(request(romeo, { node: 'greet' }));
    const session = { node: 'greet', sessionid: asked.attrs.sessionid };
    const failed = await commands.execute(request(romeo, session, { whom: 'nobody' }));
    assert.equal(failed.attrs.status, 'completed');
    assert.equal(failed.child('note')?.attrs.type, 'error');
    assert.equal(failed.childText('note'), 'there is nobody');
  });

  it('belong to who began them, where they were begun', async () => {
    const asked = await commands.execute(request(romeo, { node: 'greet' }));
    const stanza = request(romeo, { node: 'greet', sessionid: asked.attrs.sessionid }, { whom: 'Juliet' });
    const elsewhere = commands.execute(stanza.withTo(Jid.parse('sms.other.test')));
    await assert.rejects(elsewhere, refused('bad-request', 'bad-sessionid'));
    assert.equal((await commands.execute(stanza)).attrs.status, 'completed');
  });

  it('refuse what is wrong, each in its way', async () => {
    const asked = await commands.execute(request(romeo, { node: 'greet' }));
    const session = { node: 'greet', sessionid: asked.attrs.sessionid };
    await assert.rejects(commands.execute(request(romeo, { node: 'none' })), refused('item-not-found'));
    await assert.rejects(commands.execute(request(juliet, { node: 'greet' })), refused('forbidden'));
    await assert.rejects(
      commands.execute(request(romeo, { node: 'time', action: 'explode' })),
      refused('bad-request', 'malformed-action'),
    );
    await assert.rejects(commands.execute(request(romeo, session)), refused('bad-request', 'bad-payload'));
    await assert.rejects(
      commands.execute(request(Jid.parse('romeo@hub.test/garden'), session, { whom: 'x' })),
      refused('bad-request', 'bad-sessionid'),
    );
  });
});

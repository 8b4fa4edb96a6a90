// Runs administrative commands the way a client does: ask for the form, fill it in, send it back (XEP-0133).
import { type Element, el } from '../../src/xmpp/element.ts';
import { formElement } from '../../src/xmpp/form.ts';
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from './client.ts';

type Values = Record<string, string | string[]>;

/** Runs a command to its end: the completed command, or the conditions of the error. */
export async function runs(client: Client, name: string, values: Values = {}, at = 'hub.test'): Promise<Element> {
  const node = `${ns.administration}#${name}`;
  const begun = await client.asks('set', el('command', ns.commands, { node }), at);
  const first = begun.child('command', ns.commands);
  if (begun.attrs.type === 'error' || first?.attrs.status === 'completed') return begun;
  const fields = Object.entries(values).map(([name_, value]) => ({ var: name_, value }));
  const submit = formElement('submit', { fields: [{ var: 'FORM_TYPE', value: ns.administration }, ...fields] });
  const { sessionid } = first!.attrs;
  return client.asks('set', el('command', ns.commands, { node, sessionid, action: 'complete' }, submit), at);
}

/** What the note of a command says that has failed. */
export function failure(answer: Element): string {
  const command = answer.child('command', ns.commands);
  const note = command?.attrs.status === 'completed' ? command.child('note') : null;
  return note?.attrs.type === 'error' ? note.text : `no failure: ${answer}`;
}

/** The condition of an error answer. */
export function refusal(answer: Element): string {
  return answer.child('error')?.all()[0]?.name ?? `no error: ${answer}`;
}

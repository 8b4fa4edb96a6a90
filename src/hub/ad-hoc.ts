// Ad-hoc commands (XEP-0050) of one entity: who may run them, the form each asks with, and what it answers.
import { randomBytes } from 'node:crypto';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { type Form, type FormValues, formElement, readForm } from '../xmpp/form.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import type { Stanza } from '../xmpp/stanza.ts';

export interface AdHocCommand {
  readonly node: string;
  /** What clients show in their menus. */
  readonly name: string;
  /** Whether the address has it at all; every address where it is absent. */
  offered?(at: Jid): boolean;
  /** Who sees and runs it; everybody who reaches the entity where it is absent. `at` is the address it is run at. */
  allowed?(from: Jid, at: Jid): boolean | Promise<boolean>;
  /** What it asks for. Absent: it runs at once. */
  form?(from: Jid, at: Jid): Form | Promise<Form>;
  /** Does it. Gives a note for the user, or a result form. Throws a StanzaError whose text says what was wrong. */
  run(values: FormValues, from: Jid, at: Jid): string | Form | null | Promise<string | Form | null>;
}

interface Asked {
  node: string;
  from: string;
  until: number;
}

/** How long a form may stay open, and how many may be open at once. */
const patience = 30 * 60_000;
const mostAsked = 10_000;
const nothing: FormValues = new Map();

export class AdHocCommands {
  readonly #commands = new Map<string, AdHocCommand>();
  readonly #asked = new Map<string, Asked>();

  add(command: AdHocCommand): void {
    this.#commands.set(command.node, command);
  }

  has(node: string, at?: Jid): boolean {
    const command = this.#commands.get(node);
    return command !== undefined && (at === undefined || (command.offered?.(at) ?? true));
  }

  /** The commands that somebody may run, for disco#items on the node `ns.commands` (XEP-0050 §2.2). */
  async list(from: Jid, at: Jid): Promise<{ node: string; name: string }[]> {
    const listed: { node: string; name: string }[] = [];
    for (const command of this.#commands.values()) {
      if ((command.offered?.(at) ?? true) && (await permitted(command, from, at)))
        listed.push({ node: command.node, name: command.name });
    }
    return listed;
  }

  /** The name of a command that somebody may run, or null. */
  async nameOf(node: string, from: Jid, at: Jid): Promise<string | null> {
    const command = this.#commands.get(node);
    if (!command || !this.has(node, at)) return null;
    return (await permitted(command, from, at)) ? command.name : null;
  }

  /** Answers an IQ that carries `<command/>`: the payload of the result. Throws StanzaError (XEP-0050 §4.1). */
  async execute(stanza: Stanza): Promise<Element> {
    const request = stanza.child('command', ns.commands);
    const { from, to } = stanza;
    if (!request || !from || !to || stanza.type !== 'set') throw new StanzaError('bad-request');
    const node = request.attrs.node ?? '';
    const command = this.#commands.get(node);
    if (!command || !this.has(node, to)) throw new StanzaError('item-not-found', 'there is no such command');
    if (!(await permitted(command, from, to))) throw new StanzaError('forbidden', 'this command is not for you');
    const { sessionid, action = 'execute', 'xml:lang': language = 'en' } = request.attrs;
    // All that is said here is English. What the whole stanza is in is no wish: it is what the stream began with (§3.7).
    if (!/^en(-|$)/i.test(language)) throw problem('bad-locale');
    if (!['execute', 'complete', 'next', 'cancel', 'prev'].includes(action)) throw problem('malformed-action');
    if (sessionid === undefined) {
      // Without a session there is nothing to go on with, back from or out of.
      if (action !== 'execute') throw problem('bad-action');
      return this.#begin(command, from, to);
    }
    const asked = this.#asked.get(sessionid);
    if (!asked || asked.node !== node || asked.from !== from.toString()) throw problem('bad-sessionid');
    if (asked.until < Date.now()) {
      this.#asked.delete(sessionid);
      const expired = el('session-expired', ns.commands);
      throw new StanzaError('not-allowed', 'that was open for too long', 'cancel', expired);
    }
    if (action === 'cancel') {
      this.#asked.delete(sessionid);
      return el('command', ns.commands, { node, sessionid, status: 'canceled' });
    }
    // The one form asks for everything, so `complete` is all that is offered, and what `execute` means (§3.4).
    if (action === 'prev' || action === 'next') throw problem('bad-action');
    const values = submitted(request.child('x', ns.data));
    if (!values) throw problem('bad-payload');
    const result = await command.run(values, from, to);
    this.#asked.delete(sessionid);
    return completed(node, sessionid, result);
  }

  async #begin(command: AdHocCommand, from: Jid, at: Jid): Promise<Element> {
    const { node } = command;
    const sessionid = randomBytes(12).toString('base64url');
    if (!command.form) return completed(node, sessionid, await command.run(nothing, from, at));
    const form = await command.form(from, at);
    this.#forget();
    this.#asked.set(sessionid, { node, from: from.toString(), until: Date.now() + patience });
    return el(
      'command',
      ns.commands,
      { node, sessionid, status: 'executing', 'xml:lang': 'en' },
      el('actions', ns.commands, { execute: 'complete' }, el('complete', ns.commands)),
      formElement('form', form),
    );
  }

  /** Lets go of forms that nobody sent back, the oldest first. */
  #forget(): void {
    const now = Date.now();
    for (const [id, { until }] of this.#asked) {
      if (until > now && this.#asked.size < mostAsked) return;
      this.#asked.delete(id);
    }
  }
}

/** What was filled in; a form that was cancelled counts as one that was submitted (XEP-0050 §3.5.1). */
function submitted(x: Element | null): FormValues | null {
  return readForm(x?.attrs.type === 'cancel' ? x.withAttrs({ type: 'submit' }) : x);
}

function permitted(command: AdHocCommand, from: Jid, at: Jid): boolean | Promise<boolean> {
  return command.allowed?.(from, at) ?? true;
}

function completed(node: string, sessionid: string, result: string | Form | null): Element {
  return el(
    'command',
    ns.commands,
    { node, sessionid, status: 'completed', 'xml:lang': 'en' },
    typeof result === 'string' ? el('note', ns.commands, { type: 'info' }, result) : null,
    result !== null && typeof result !== 'string' ? formElement('result', result) : null,
  );
}

function problem(
  name: 'malformed-action' | 'bad-action' | 'bad-payload' | 'bad-sessionid' | 'bad-locale',
): StanzaError {
  return new StanzaError('bad-request', '', 'modify', el(name, ns.commands));
}

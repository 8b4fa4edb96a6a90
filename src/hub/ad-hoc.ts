// Ad-hoc commands (XEP-0050) of one entity: who may run them, the form each asks with, and what it answers.
import { createHmac, randomBytes } from 'node:crypto';
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
  /**
   * Does it. Gives a note for the user, or a result form. Throws a StanzaError whose text says what was wrong, or a
   * CommandFailure.
   */
  run(values: FormValues, from: Jid, at: Jid): string | Form | null | Promise<string | Form | null>;
}

/** A form that somebody has before them. */
interface Asked {
  until: number;
  /** The fields that have to be filled in. */
  required: string[];
}

/** The command has run and did not succeed: its message becomes a note, not an error (XEP-0050 §4.5). */
export class CommandFailure extends Error {}

/** How long a form may stay open, and how many may be open at once. */
const patience = 30 * 60_000;
const mostAsked = 10_000;
const nothing: FormValues = new Map();

export class AdHocCommands {
  readonly #commands = new Map<string, AdHocCommand>();
  readonly #asked = new Map<string, Asked>();
  /** Makes a session's id tell whose it is: one that is over is known without being remembered. */
  readonly #secret = randomBytes(32);

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

  /**
   * Answers an IQ that carries `<command/>`: the payload of the result. It is run at `at`, which is the address that
   * was asked where nothing else is said. Throws StanzaError (XEP-0050 §4.4).
   */
  async execute(stanza: Stanza, at = stanza.to): Promise<Element> {
    const request = stanza.child('command', ns.commands);
    const { from } = stanza;
    if (!request || !from || !at || stanza.type !== 'set') throw new StanzaError('bad-request');
    const node = request.attrs.node ?? '';
    const command = this.#commands.get(node);
    if (!command || !this.has(node, at)) throw new StanzaError('item-not-found', 'there is no such command');
    if (!(await permitted(command, from, at)))
      throw new StanzaError('forbidden', 'this command is not for you', 'cancel');
    const { sessionid, action = 'execute' } = request.attrs;
    if (!['execute', 'complete', 'next', 'cancel', 'prev'].includes(action)) throw problem('malformed-action');
    if (sessionid === undefined) {
      // Without a session there is nothing to go on with, back from or out of.
      if (action !== 'execute') throw problem('bad-action');
      return this.#begin(command, from, at);
    }
    const [nonce] = sessionid.split('.');
    if (sessionid !== this.#sessionId(nonce, node, from, at)) throw problem('bad-sessionid');
    const asked = this.#asked.get(sessionid);
    if (!asked || asked.until < Date.now()) {
      this.#asked.delete(sessionid);
      throw new StanzaError('not-allowed', 'that is over', 'cancel', el('session-expired', ns.commands));
    }
    if (action === 'cancel') {
      this.#asked.delete(sessionid);
      return el('command', ns.commands, { node, sessionid, status: 'canceled' });
    }
    // The one form asks for everything, so `complete` is all that is offered, and what `execute` means (§3.4).
    if (action === 'prev' || action === 'next') throw problem('bad-action');
    const values = submitted(request.child('x', ns.data));
    if (!values) throw problem('bad-payload');
    const missing = asked.required.filter(name => !values.get(name)?.some(value => value.trim() !== ''));
    if (missing.length > 0) throw problem('bad-payload', `nothing is said of ${missing.join(', ')}`);
    // Taken back first, so that it is done once however often the form is sent; who is refused may try again.
    this.#asked.delete(sessionid);
    try {
      return await this.#run(command, sessionid, values, from, at);
    } catch (error) {
      this.#asked.set(sessionid, asked);
      throw error;
    }
  }

  async #begin(command: AdHocCommand, from: Jid, at: Jid): Promise<Element> {
    const { node } = command;
    const sessionid = this.#sessionId(randomBytes(12).toString('base64url'), node, from, at);
    if (!command.form) return this.#run(command, sessionid, nothing, from, at);
    const form = await command.form(from, at);
    this.#forget();
    const required = form.fields.filter(field => field.required).map(field => field.var ?? '');
    this.#asked.set(sessionid, { until: Date.now() + patience, required });
    return el(
      'command',
      ns.commands,
      { node, sessionid, status: 'executing' },
      el('actions', ns.commands, { execute: 'complete' }, el('complete', ns.commands)),
      formElement('form', form),
    );
  }

  async #run(command: AdHocCommand, sessionid: string, values: FormValues, from: Jid, at: Jid): Promise<Element> {
    try {
      const result = await command.run(values, from, at);
      const note = typeof result === 'string' ? noteElement('info', result) : null;
      const form = result !== null && typeof result !== 'string' ? formElement('result', result) : null;
      return completed(command.node, sessionid, note ?? form);
    } catch (error) {
      if (!(error instanceof CommandFailure)) throw error;
      return completed(command.node, sessionid, noteElement('error', error.message));
    }
  }

  #sessionId(nonce: string, ...parts: (Jid | string)[]): string {
    const hmac = createHmac('sha256', this.#secret).update([nonce, ...parts].join('\0'));
    return `${nonce}.${hmac.digest('base64url').slice(0, 16)}`;
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

function completed(node: string, sessionid: string, payload: Element | null): Element {
  return el('command', ns.commands, { node, sessionid, status: 'completed' }, payload);
}

function noteElement(type: 'info' | 'error', text: string): Element {
  return el('note', ns.commands, { type }, text);
}

function problem(name: 'malformed-action' | 'bad-action' | 'bad-payload' | 'bad-sessionid', text = ''): StanzaError {
  return new StanzaError('bad-request', text, 'modify', el(name, ns.commands));
}

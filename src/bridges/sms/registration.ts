// What users tell the bridge in their clients' forms: registration (XEP-0077, XEP-0100), commands (XEP-0050), a number for an address.
import { AdHocCommands } from '../../hub/ad-hoc.ts';
import { type Element, el } from '../../xmpp/element.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { type Field, type FormValues, flagOf, formElement, readForm, textOf } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { isOriginator, readNumber, validNumber } from './addresses.ts';
import type { Numbers } from './numbers.ts';
import type { SmsConfig } from './settings.ts';
import type { OwnAccount, Users } from './users.ts';

export const gatewayNs = 'jabber:iq:gateway';

export interface RegistrationParts {
  config: SmsConfig;
  users: Users;
  numbers: Numbers;
  /** Who may tell the bridge anything. */
  permitted(user: Jid): boolean;
  /** A user's own account was set, changed or (null) removed. Throws a StanzaError where there are too many. */
  accountChanged(user: Jid, account: OwnAccount | null): void;
  /** What a user hears of the state of things, line by line. */
  stateFor(user: Jid): string[];
}

export class Registration {
  readonly #parts: RegistrationParts;
  readonly commands = new AdHocCommands();

  constructor(parts: RegistrationParts) {
    this.#parts = parts;
    this.#addCommands();
  }

  /** Answers `jabber:iq:register` and `jabber:iq:gateway` at the bridge's domain; null: it is none of these. */
  async answer(stanza: Stanza): Promise<Stanza | null> {
    if (!stanza.to!.isDomain) return null;
    if (stanza.has('query', gatewayNs)) return stanza.result(this.#gateway(stanza));
    if (!stanza.has('query', ns.register)) return null;
    const from = stanza.from!;
    if (!this.#parts.permitted(from))
      throw new StanzaError('forbidden', 'this bridge serves the users of its own server');
    if (stanza.type === 'get') return stanza.result(this.#form(from));
    const query = stanza.child('query', ns.register)!;
    if (query.child('remove')) {
      await this.#unregister(from);
      return stanza.result();
    }
    await this.#register(from, valuesOf(query));
    return stanza.result();
  }

  /** A number becomes the address that stands for it (XEP-0100 §6.2, with the protocol it gives for that). */
  #gateway(stanza: Stanza): Element {
    const { domain, country } = this.#parts.config;
    const query = stanza.child('query', gatewayNs)!;
    if (stanza.type === 'get') {
      const words = 'The number of the phone, with country code';
      return el('query', gatewayNs, {}, el('desc', gatewayNs, {}, words), el('prompt', gatewayNs, {}, 'Number'));
    }
    const number = readNumber(query.childText('prompt'), country);
    if (number === null) throw new StanzaError('not-acceptable', validNumber);
    return el('query', gatewayNs, {}, el('jid', gatewayNs, {}, `${number}@${domain}`));
  }

  #form(user: Jid): Element {
    const { users } = this.#parts;
    const { number, account } = users.get(user);
    const registered = number !== '' || account !== null;
    const instructions = 'Your phone’s number, for messages that come while you are offline.';
    return el(
      'query',
      ns.register,
      {},
      registered ? el('registered', ns.register) : null,
      el('instructions', ns.register, {}, instructions),
      el('phone', ns.register, {}, number),
      formElement('form', {
        title: 'Short messages',
        instructions,
        fields: [{ var: 'FORM_TYPE', type: 'hidden', value: ns.register }, ...this.#fields(user)],
      }),
    );
  }

  #fields(user: Jid): Field[] {
    const { config, users } = this.#parts;
    const { number, account } = users.get(user);
    const fields: Field[] = [{ var: 'phone', type: 'text-single', label: 'Number of your phone', value: number }];
    if (config.ownAccounts.length === 0) return fields;
    return [
      ...fields,
      {
        var: 'smsc',
        type: 'list-single',
        label: 'SMS centre where you have an account of your own',
        value: account?.smsc ?? '',
        options: [{ value: '', label: 'none' }, ...config.ownAccounts.map(name => ({ value: name, label: name }))],
      },
      { var: 'username', type: 'text-single', label: 'Its system id', value: account?.systemId ?? '' },
      { var: 'password', type: 'text-private', label: 'Its password' },
      { var: 'sender', type: 'text-single', label: 'Your messages come from', value: account?.sender ?? '' },
    ];
  }

  async #register(user: Jid, values: FormValues): Promise<void> {
    const { users, config, accountChanged } = this.#parts;
    const phone = textOf(values, 'phone');
    const number = phone === '' ? '' : readNumber(phone, config.country);
    if (number === null) throw new StanzaError('not-acceptable', validNumber);
    const account = this.#account(values);
    if (number === '' && !account) throw new StanzaError('not-acceptable', 'a number is needed');
    const before = users.get(user).account;
    if (account || before) accountChanged(user, account);
    await users.set(user, { number, account });
  }

  #account(values: FormValues): OwnAccount | null {
    const { ownAccounts } = this.#parts.config;
    const smsc = textOf(values, 'smsc');
    if (smsc === '') return null;
    if (!ownAccounts.includes(smsc))
      throw new StanzaError('not-acceptable', `there is no SMS centre ${smsc} to choose`);
    const [systemId, password, sender] = ['username', 'password', 'sender'].map(name => textOf(values, name));
    const carried = (text: string) => /^[ -~]{0,32}$/.test(text);
    if (systemId === '' || !carried(systemId) || !carried(password)) {
      throw new StanzaError('not-acceptable', 'system id and password have at most 32 ASCII characters');
    }
    if (!isOriginator(sender)) {
      throw new StanzaError('not-acceptable', 'your messages come from a number or a name of at most 11 letters');
    }
    return { smsc, systemId, password, sender };
  }

  async #unregister(user: Jid): Promise<void> {
    if (this.#parts.users.get(user).account) this.#parts.accountChanged(user, null);
    await this.#parts.users.remove(user);
  }

  #addCommands(): void {
    const { users, numbers, config, permitted, stateFor } = this.#parts;
    const allowed = (from: Jid) => permitted(from);
    this.commands.add({
      node: 'forward',
      name: 'Messages while I am offline',
      allowed,
      form: from => ({
        title: 'Messages while I am offline',
        fields: [
          {
            var: 'forward',
            type: 'boolean',
            label: 'Send them to my phone as well',
            value: (users.get(from).forward ?? config.forwardOffline) ? '1' : '0',
          },
        ],
      }),
      run: async (values, from) => {
        const forward = flagOf(values, 'forward');
        if (forward === undefined) throw new StanzaError('bad-request', 'forward is yes or no');
        await users.set(from, { forward });
        if (!forward) return 'Your messages wait for you and do not go to your phone.';
        const number = await numbers.find(from);
        return number
          ? `Messages that come while you are offline go to ${number} as well.`
          : 'Messages will go to your phone once there is a number: in your vCard, or given here.';
      },
    });
    this.commands.add({
      node: 'number',
      name: 'My phone’s number',
      allowed,
      form: from => ({
        title: 'My phone’s number',
        instructions: `Leave it empty to remove it; otherwise ${validNumber}.`,
        fields: [{ var: 'number', type: 'text-single', label: 'Number', value: users.get(from).number }],
      }),
      run: async (values, from) => {
        const text = textOf(values, 'number').trim();
        const number = text === '' ? '' : readNumber(text, config.country);
        if (number === null) throw new StanzaError('not-acceptable', validNumber);
        await users.set(from, { number });
        return number ? `Your number is ${number}.` : 'Your number is removed.';
      },
    });
    this.commands.add({
      node: 'status',
      name: 'How things are',
      allowed,
      run: async (_values, from) => {
        const number = await numbers.find(from);
        const forward = users.get(from).forward ?? config.forwardOffline;
        return [
          number ? `Your number is ${number}.` : 'No number of yours is known.',
          `Messages while you are offline ${forward && number ? 'go to your phone as well' : 'wait for you'}.`,
          ...stateFor(from),
        ].join('\n');
      },
    });
  }
}

/** Of a submitted form, or of the plain fields of older clients (XEP-0077 §3.1). */
function valuesOf(query: Element): FormValues {
  const form = readForm(query.child('x', ns.data));
  if (form) return form;
  return new Map(query.all().map(field => [field.name, [field.text]]));
}

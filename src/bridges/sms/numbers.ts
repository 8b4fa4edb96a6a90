// Where the number of a user's phone is found: their vCard, the directory, what they told the bridge, in the configured order.
import type { Element } from '../../xmpp/element.ts';
import { el } from '../../xmpp/element.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { Stanza } from '../../xmpp/stanza.ts';
import type { BridgePort } from '../bridge.ts';
import { readNumber } from './addresses.ts';
import type { NumberSource, SmsConfig } from './settings.ts';
import type { Users } from './users.ts';

/** How long a vCard may take, in ms: a sender waits for it. */
const patience = 5_000;

export class Numbers {
  readonly #port: BridgePort;
  readonly #config: SmsConfig;
  readonly #users: Users;

  constructor(port: BridgePort, config: SmsConfig, users: Users) {
    this.#port = port;
    this.#config = config;
    this.#users = users;
  }

  /** The number of a user's phone, or null. A source that fails counts as one that knows nothing. */
  async find(user: Jid): Promise<string | null> {
    for (const source of this.#config.numberFrom) {
      const found = await this.#from(source, user).catch(error => {
        this.#port.log.warn({ user: user.bare.toString(), source, reason: error.message }, 'no number from there');
        return null;
      });
      const number = found ? readNumber(found, this.#config.country) : null;
      if (number) return number;
    }
    return null;
  }

  async #from(source: NumberSource, user: Jid): Promise<string | null> {
    if (source === 'account') return this.#users.get(user).number || null;
    if (source === 'directory') {
      return (await this.#port.directory(user.domain)?.find(user.local))?.mobile ?? null;
    }
    const from = Jid.of('', this.#config.domain, '');
    const request = Stanza.of('iq', { from, to: user.bare, type: 'get' }, el('vCard', ns.vcard));
    const answer = await this.#port.ask(request, patience);
    const card = answer.isError ? null : answer.child('vCard', ns.vcard);
    return card ? mobileOf(card) : null;
  }
}

/** The number of a mobile phone in a vCard (XEP-0054): one marked CELL, else one marked neither fax, pager nor video. */
export function mobileOf(card: Element): string | null {
  const phones = card.all('TEL').slice(0, 20);
  const marked = phones.find(phone => phone.child('CELL') && phone.childText('NUMBER'));
  const others = ['FAX', 'PAGER', 'VIDEO', 'MODEM', 'BBS', 'ISDN', 'PCS'];
  const plain = phones.find(phone => phone.childText('NUMBER') && !others.some(other => phone.child(other)));
  return (marked ?? plain)?.childText('NUMBER').trim() || null;
}

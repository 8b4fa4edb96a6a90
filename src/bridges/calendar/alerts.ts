// How an alert reaches somebody: at once where they are online, else as the configuration says.
import type { CounterFamily } from '../../hub/metrics.ts';
import { el } from '../../xmpp/element.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { BridgePort } from '../bridge.ts';
import { alertMessage } from './alert.ts';
import type { Entry } from './entry.ts';
import type { CalendarConfig } from './kind.ts';
import type { AlertKind } from './notification.ts';
import type { Preferences } from './preferences.ts';
import type { Reminders } from './reminders.ts';

export interface Alert {
  kind: AlertKind;
  zone: string;
  id: string;
  /** The iCalendar text, '' where there is none. */
  text: string;
}

/** For how long after a start an alert waits for somebody to come online, and how often that is looked at, ms. */
const grace = 30_000;
const heldFor = 1_000;

export class Alerts {
  readonly #config: CalendarConfig;
  readonly #port: BridgePort;
  readonly #preferences: Preferences;
  readonly #reminders: Reminders;
  readonly #discard: (reason: string) => void;
  readonly #delivered: CounterFamily;
  readonly #from: Jid;
  readonly #started = Date.now();

  constructor(
    config: CalendarConfig,
    port: BridgePort,
    preferences: Preferences,
    reminders: Reminders,
    discard: (reason: string) => void,
  ) {
    this.#config = config;
    this.#port = port;
    this.#preferences = preferences;
    this.#reminders = reminders;
    this.#discard = discard;
    this.#delivered = port.metrics.counter('isthmus_calendar_delivered_total', 'Alerts that users got', [
      'kind',
      'way',
    ]);
    this.#from = Jid.of('', config.domain, '');
  }

  /** Tells somebody of an event. Resolves when the alert is kept by whoever carries it on. */
  tell(user: Jid, entry: Entry, { kind, zone, id, text }: Alert): void | Promise<void> {
    if (this.#preferences.of(user.toString()).off.has(kind)) return this.#discard('switched-off');
    const object = this.#config.contentType === 'text/calendar' ? text : '';
    const headline = alertMessage(entry, {
      kind,
      zone,
      to: user,
      from: this.#from,
      type: 'headline',
      id,
      object,
      store: false,
    });
    if (kind === 'reminder' || kind === 'task') this.#reminders.note(user, headline);
    return this.#carry(headline, kind);
  }

  /** Sends an alert that was put off. */
  again(stanza: Stanza): void | Promise<void> {
    if (stanza.text('subject').includes('eminder:')) this.#reminders.note(stanza.to!, stanza);
    return this.#carry(stanza, 'later');
  }

  #carry(headline: Stanza, kind: string): void | Promise<void> {
    const { offline } = this.#config;
    const { inside } = this.#port;
    if (inside ? inside.online(headline.to!) : offline === 'discard') return this.#hand(headline, kind, 'headline');
    if (offline === 'discard') return this.#away(headline);
    // The SMS bridge takes what finds somebody offline, where they want that; a headline is kept nowhere else.
    if (offline === 'sms') return this.#hand(headline, kind, 'sms');
    // Servers keep what is no headline (XEP-0160 §3).
    return this.#hand(headline.withType('normal').with(el('store', ns.hints)), kind, 'stored');
  }

  /** Right after a start nobody is online yet who was before: what comes then waits a little for its reader. */
  #away(headline: Stanza): void {
    const now = Date.now();
    if (now < this.#started + grace && this.#reminders.hold(headline, now + heldFor)) return;
    this.#discard('offline');
  }

  #hand(stanza: Stanza, kind: string, way: string): void | Promise<void> {
    const taken = this.#port.receive(stanza);
    if (!taken) return this.#delivered.bind(kind, way).add();
    return taken.then(() => this.#delivered.bind(kind, way).add());
  }
}

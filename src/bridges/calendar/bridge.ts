// The calendar bridge: what brokers tell becomes alerts and presence, and users steer it at the bridge's address.
import { StanzaError } from '../../xmpp/errors.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { Bridge, BridgeCommand, BridgePort } from '../bridge.ts';
import { Service } from '../service.ts';
import { Agenda } from './agenda.ts';
import { Alerts } from './alerts.ts';
import { connectAmqp } from './amqp.ts';
import { availabilityPresence, type State, stateAt, statusText } from './availability.ts';
import { BrokerLink, type Pauses } from './broker.ts';
import { BusyTimes } from './busy-times.ts';
import { userCommands } from './commands.ts';
import { doorHandler } from './door.ts';
import { dueInstance } from './due.ts';
import type { Entry } from './entry.ts';
import { Intake } from './intake.ts';
import type { CalendarConfig } from './kind.ts';
import type { Notification } from './notification.ts';
import { Owners } from './owners.ts';
import { Preferences } from './preferences.ts';
import { Recurrence } from './recurrence.ts';
import { Reminders } from './reminders.ts';
import { connectStomp } from './stomp.ts';
import { Transitions } from './transitions.ts';

const tending = 3_600_000;

export class CalendarBridge implements Bridge {
  readonly commands: Readonly<Record<string, BridgeCommand>>;
  readonly #config: CalendarConfig;
  readonly #port: BridgePort;
  readonly #service: Service;
  readonly #preferences: Preferences;
  readonly #owners: Owners;
  readonly #reminders: Reminders;
  readonly #alerts: Alerts;
  readonly #recurrence = new Recurrence();
  readonly #times: BusyTimes;
  readonly #agenda: Agenda;
  readonly #transitions: Transitions;
  readonly #intake: Intake;
  readonly #links: readonly BrokerLink[];
  /** What was last said of somebody's presence, for those who are busy. */
  readonly #said = new Map<string, string>();
  #tending: NodeJS.Timeout | null = null;

  constructor(config: CalendarConfig, port: BridgePort, pauses: Partial<Pauses> = {}) {
    this.#config = config;
    this.#port = port;
    const { store, log, metrics } = port;
    this.#preferences = new Preferences(store);
    this.#owners = new Owners(port, config.mailDomains);
    this.#reminders = new Reminders(store, stanza => this.#alerts.again(stanza));
    this.#alerts = new Alerts(config, port, this.#preferences, this.#reminders, reason => this.#intake.discard(reason));
    this.#times = new BusyTimes(store);
    this.#agenda = new Agenda(store, this.#times, this.#recurrence, {
      changed: jid => this.#changed(jid),
      refused: (user, uid, why) => {
        this.#intake.discard('recurrence');
        log.warn({ user, uid: uid.slice(0, 200), why }, 'the instances of an event are not known');
      },
      zone: jid => this.#zoneOf(jid),
    });
    this.#transitions = new Transitions(this.#times, jid => this.#announce(jid));
    this.#intake = new Intake({
      store,
      metrics,
      log,
      owners: this.#owners,
      unusable: config.unusable,
      prepare: notification => dueInstance(notification, this.#recurrence, config.zone),
      deliver: (user, notification, id) => this.#deliver(user, notification, id),
    });
    this.#links = config.brokers.map(
      broker =>
        new BrokerLink(broker, {
          connect: broker.protocol === 'stomp' ? connectStomp : connectAmqp,
          authorities: config.authorities,
          log,
          take: async delivery => void (await this.#intake.take(broker.name, delivery)),
          pauses,
        }),
    );
    this.#service = new Service(port, {
      identity: { category: 'gateway', type: 'x-calendar', name: 'Calendar' },
      commands: userCommands({
        preferences: this.#preferences,
        reminders: this.#reminders,
        serves: user => this.#serves(user),
        zone: config.zone,
        changed: user => this.#agenda.rezone(user.toString(), this.#zoneOf(user.toString()), Date.now()),
      }),
    });
    this.commands = this.#operations();
    this.#measure();
  }

  async start(): Promise<void> {
    const { inside } = this.#port;
    for (const door of this.#config.doors) {
      inside?.http(
        'POST',
        door.path,
        doorHandler(door, delivery => this.#intake.take(door.name, delivery)),
      );
    }
    inside?.onRemoved(user => this.#forget(user));
    const now = Date.now();
    this.#tend(now);
    this.#tending = setInterval(() => this.#tend(Date.now()), tending);
    this.#tending.unref();
    if (this.#config.availability) {
      for (const user of this.#times.busyAt(now)) this.#announce(user);
      this.#transitions.start(now);
    }
    this.#reminders.start();
    for (const link of this.#links) link.start();
  }

  async stop(): Promise<void> {
    if (this.#tending) clearInterval(this.#tending);
    this.#transitions.stop();
    this.#reminders.stop();
    this.#intake.stop();
    this.#agenda.stop();
    await Promise.all(this.#links.map(link => link.stop()));
    await this.#recurrence.close();
    await this.#agenda.settled();
  }

  async send(stanza: Stanza): Promise<void> {
    if (stanza.isError) {
      if (stanza.name === 'message') this.#intake.discard('bounced');
      return;
    }
    if (await this.#service.handle(stanza)) return;
    if (stanza.name === 'presence' || !(stanza.name === 'message' || stanza.isRequest)) return;
    throw new StanzaError('feature-not-implemented', 'calendars do not chat; their commands are in your client’s menu');
  }

  show(): Record<string, unknown> {
    const { contentType, availability, offline, doors, zone } = this.#config;
    const { events, problems } = this.#agenda.counts;
    return {
      domain: this.#config.domain,
      brokers: this.#links.map(({ config, state, server, lastError, since, unsettled }) => ({
        name: config.name,
        url: `${config.protocol}${config.tls ? '+tls' : ''}://${config.host}:${config.port}`,
        topic: config.topic,
        durable: config.durable,
        state,
        since: new Date(since).toISOString(),
        server,
        'in work': unsettled,
        'last error': lastError,
      })),
      doors: doors.map(({ name, path }) => ({ name, path })),
      'content-type': contentType,
      availability,
      offline,
      'time-zone': zone,
      events,
      'busy times': this.#times.count,
      'events that cannot be expanded': problems,
      'busy now': this.#said.size,
      'reminders put off': this.#reminders.count,
    };
  }

  /** Does for one user what a notification says. */
  #deliver(user: Jid, notification: Notification, id: string): void | Promise<void> {
    const jid = user.toString();
    const { object, alert, calendarDeleted } = notification;
    if (calendarDeleted) return this.#agenda.clear(jid);
    if (this.#config.availability) this.#note(user, notification);
    const zone = this.#zoneOf(jid);
    if (alert) {
      const entry = notification.instance ?? object.entries[0];
      return this.#alerts.tell(user, entry, { kind: alert, zone, id, text: notification.text });
    }
    this.#intake.discard('no-alert');
  }

  /** What it says of the user's time. */
  #note(user: Jid, { object, alert, owners }: Notification): void {
    const now = Date.now();
    const jid = user.toString();
    const zone = object.zone && !this.#preferences.of(jid).zone ? object.zone : this.#zoneOf(jid);
    const owner = { jid, zone, addresses: new Set([jid, ...owners]) };
    for (const published of object.freeBusy) this.#agenda.publish(owner, published, now);
    // Answers tell of other people's time.
    if (alert === 'reply' || object.method === 'REPLY' || object.method === 'COUNTER') return;
    for (const entries of byUid(object.entries)) {
      if (object.method === 'CANCEL' || alert === 'cancellation') this.#agenda.cancel(owner, entries, now);
      else if (!this.#agenda.put(owner, entries, now, alert === 'reminder')) this.#intake.discard('too-many-events');
    }
  }

  #changed(jid: string): void {
    if (!this.#config.availability) return;
    const now = Date.now();
    this.#transitions.added(this.#times.nextOf(jid, now));
    this.#announce(jid);
  }

  /** Says what somebody is now, where that is not what was said last. */
  #announce(jid: string): void {
    const now = Date.now();
    const runs = this.#times.runs(jid, now);
    if (!runs && !this.#said.has(jid)) return;
    const state: State | null = runs ? stateAt(this.#times.spans(jid, now), now) : null;
    const zone = this.#zoneOf(jid);
    const text = state ? `${state.busy} ${statusText(state, now, zone)}` : undefined;
    if (this.#said.get(jid) === text) return;
    const user = Jid.parse(jid);
    if (state) this.#said.set(jid, text!);
    else this.#said.delete(jid);
    this.#port.inside?.setPresence(user, 'calendar', state ? availabilityPresence(user, state, now, zone) : null);
  }

  #zoneOf(jid: string): string {
    return this.#preferences.of(jid).zone || this.#config.zone;
  }

  #serves(user: Jid): boolean {
    const { inside } = this.#port;
    return inside ? inside.hosts(user.domain) : [...this.#config.mailDomains.values()].includes(user.domain);
  }

  #forget(user: Jid): void {
    const jid = user.bare.toString();
    this.#agenda.clear(jid);
    this.#preferences.remove(jid);
    this.#reminders.remove(jid);
  }

  #tend(now: number): void {
    this.#agenda.tend(now);
    this.#intake.tend();
  }

  #operations(): Record<string, BridgeCommand> {
    return {
      availability: {
        help: 'availability USER  what the calendar knows of somebody’s time',
        run: ([text, ...more]) => {
          const user = Jid.tryParse(text ?? '');
          if (!user?.local || user.resource || more.length > 0)
            throw new Error('availability takes a USER: user@domain');
          return this.#availability(user.toString());
        },
      },
    };
  }

  #availability(jid: string): Record<string, unknown> {
    const now = Date.now();
    const zone = this.#zoneOf(jid);
    const spans = this.#times.spans(jid, now, 20);
    const state = stateAt(this.#times.spans(jid, now), now);
    const text = (time: number) => new Date(time).toISOString().replace('.000Z', 'Z');
    return {
      user: jid,
      'time-zone': zone,
      now: state ? statusText(state, now, zone) : 'free',
      times: spans.map(({ start, end, busy }) => ({ start: text(start), end: text(end), busy })),
      'not expanded': this.#agenda.problems(jid),
    };
  }

  #measure(): void {
    const { metrics } = this.#port;
    metrics.gauge('isthmus_calendar_broker_up', 'Whether a broker is connected', ['broker'], set => {
      for (const { config, state } of this.#links) set(state === 'connected' ? 1 : 0, config.name);
    });
    metrics.gauge('isthmus_calendar_busy_times', 'Times of users that are kept', [], set => set(this.#times.count));
    metrics.gauge('isthmus_calendar_busy_users', 'Users who are busy now', [], set => set(this.#said.size));
  }
}

/** Events and tasks of one object by their uid; a task takes no time. */
function byUid(entries: readonly Entry[]): Entry[][] {
  const groups = new Map<string, Entry[]>();
  for (const entry of entries) {
    if (entry.kind === 'task' || entry.uid === '') continue;
    const group = groups.get(entry.uid);
    if (group) group.push(entry);
    else groups.set(entry.uid, [entry]);
  }
  return [...groups.values()];
}

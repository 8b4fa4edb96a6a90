// What users steer at the bridge's address: which alerts they get, their time zone, and reminders that come again.
import { AdHocCommands } from '../../hub/ad-hoc.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { flagOf, textOf } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { type AlertKind, alertKinds } from './notification.ts';
import type { Preferences } from './preferences.ts';
import type { Reminders } from './reminders.ts';
import { ianaZone } from './zones.ts';

const labels: Record<AlertKind, string> = {
  reminder: 'Reminders of events',
  task: 'Reminders of tasks',
  invitation: 'Invitations',
  change: 'Changes of events',
  cancellation: 'Cancellations',
  reply: 'Answers to your invitations',
};
const minutes = ['5', '10', '15', '30', '60', '120', '1440'];

export interface CommandParts {
  preferences: Preferences;
  reminders: Reminders;
  /** Whether that is somebody whose calendar is served here. */
  serves(user: Jid): boolean;
  /** The zone of those who have named none. */
  zone: string;
  /** Somebody's zone changed. */
  changed(user: Jid): void;
}

/** The commands of one calendar bridge (XEP-0050). */
export function userCommands({ preferences, reminders, serves, zone, changed }: CommandParts): AdHocCommands {
  const commands = new AdHocCommands();
  const allowed = (from: Jid) => from.local !== '' && serves(from.bare);
  commands.add({
    node: 'alerts',
    name: 'Choose calendar alerts',
    allowed,
    form(from) {
      const choice = preferences.of(from.bare.toString());
      return {
        title: 'Calendar alerts',
        instructions: 'Choose what you want to be told of.',
        fields: [
          ...alertKinds.map(kind => ({
            var: kind,
            type: 'boolean' as const,
            label: labels[kind],
            value: choice.off.has(kind) ? '0' : '1',
          })),
          { var: 'zone', type: 'text-single', label: `Your time zone (${zone} where empty)`, value: choice.zone },
        ],
      };
    },
    async run(values, from) {
      const before = preferences.of(from.bare.toString());
      const text = values.has('zone') ? textOf(values, 'zone').trim() : before.zone;
      const named = text === '' ? '' : ianaZone(text);
      if (named === null) throw new StanzaError('bad-request', 'there is no such time zone; Europe/Berlin is one');
      const off = new Set(alertKinds.filter(kind => !(flagOf(values, kind) ?? !before.off.has(kind))));
      await preferences.set(from.bare.toString(), { off, zone: named });
      if (named !== before.zone) changed(from.bare);
      return off.size === 0
        ? 'You get all alerts.'
        : `You do not get: ${[...off].map(kind => labels[kind]).join(', ')}.`;
    },
  });
  commands.add({
    node: 'snooze',
    name: 'Remind me again later',
    allowed,
    form(from) {
      const last = reminders.last(from.bare);
      if (last.length === 0) throw new StanzaError('item-not-found', 'there is nothing to be reminded of again');
      return {
        title: 'Remind me again',
        fields: [
          {
            var: 'reminder',
            type: 'list-single',
            label: 'Reminder',
            value: last[0].id,
            options: last.map(stanza => ({ value: stanza.id, label: stanza.text('subject').slice(0, 100) })),
          },
          {
            var: 'minutes',
            type: 'list-single',
            label: 'In how many minutes',
            value: '10',
            options: minutes.map(value => ({ value })),
          },
        ],
      };
    },
    async run(values, from) {
      const wanted = textOf(values, 'reminder');
      const count = Number(textOf(values, 'minutes') || '10');
      if (!(Number.isInteger(count) && count >= 1 && count <= 10_080)) {
        throw new StanzaError('bad-request', 'minutes are from 1 to 10080');
      }
      const last = reminders.last(from.bare);
      const stanza = wanted ? last.find(one => one.id === wanted) : last[0];
      if (!stanza) throw new StanzaError('item-not-found', 'that reminder is not known any more');
      const kept = await reminders.snooze(from.bare, stanza, Date.now() + count * 60_000);
      if (!kept) throw new StanzaError('resource-constraint', 'too many reminders are put off already');
      return `You will be reminded again in ${count === 1 ? 'a minute' : `${count} minutes`}.`;
    },
  });
  return commands;
}

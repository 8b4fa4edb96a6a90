// Calendars: a reminder from a broker, a meeting that shows in a contact's roster, and what the operator sees of it.
import { eventText } from '../../test/bridges/calendar/objects.ts';
import type { Client } from '../../test/support/client.ts';
import { startTestHub, type TestHub } from '../../test/support/hubs.ts';
import { StompBroker } from '../../test/support/stomp-broker.ts';
import type { Scene } from '../main.ts';
import { note, says, scene } from '../transcript.ts';

const juliet = 'juliet@hub.test';
const minute = 60_000;

async function remind(broker: StompBroker, client: Client): Promise<void> {
  const text = eventText({
    uid: 'walk',
    summary: 'A walk in the orchard',
    lines: ['LOCATION:Orchard', 'URL:https://meet.test/7'],
  });
  broker.publish('DavNotificationTopic', text, { MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'alarm', calid: juliet });
  says('the calendar server', 'publishes an alarm on DavNotificationTopic');
  const alert = await client.receives(e => e.name === 'message' && e.attrs.from === 'calendar.hub.test');
  for (const line of alert.childText('body').split('\n')) says(juliet, `reads: ${line}`);
  await broker.until(() => broker.acknowledged.length === 1, 'the acknowledgement');
  note('the broker has its acknowledgement, and would keep the alarm otherwise');
}

async function meet(broker: StompBroker, romeo: Client): Promise<void> {
  const shows = (show: string) =>
    romeo.receives(e => e.attrs.from?.startsWith(juliet) === true && e.childText('show') === show);
  const start = Date.now() - minute;
  const event = (lines: string[]) =>
    eventText({ uid: 'ball', summary: 'Planning of the ball', start, length: 30 * minute, lines });
  const publish = (lines: string[]) =>
    broker.publish('DavNotificationTopic', event(lines), {
      MQ_MESSAGE_TYPE_HEADER_PROPERTY: 'CREATEEVENT',
      calid: juliet,
    });
  publish(['CLASS:PRIVATE', 'RRULE:FREQ=WEEKLY']);
  const busy = await shows('dnd');
  says('romeo@hub.test', `sees juliet busy: “${busy.childText('status')}”, and not what it is about`);
  publish(['SEQUENCE:1', 'STATUS:CANCELLED']);
  await shows('');
  says('romeo@hub.test', 'sees juliet free again: the meeting was cancelled');
}

async function operate(hub: TestHub): Promise<void> {
  const told = (await hub.bridges.find('calendar').commands!.availability.run([juliet])) as { now: string };
  note(`isthmus calendar availability ${juliet}: ${told.now}`);
  const { brokers } = hub.bridges.find('calendar').show() as {
    brokers: { name: string; state: string; server: string }[];
  };
  for (const { name, state, server } of brokers)
    note(`isthmus bridge show calendar: broker ${name} ${state} (${server})`);
}

export const calendar: Scene = {
  title: 'Calendars',
  async play() {
    scene('A calendar server publishes to a message broker (STOMP); reminders become alerts, meetings become presence');
    const broker = await new StompBroker({ user: 'hub', password: 'secret' }).start();
    const hub = await startTestHub(['hub.test'], {
      yaml: `bridges: { calendar: { kind: calendar, domain: calendar.hub.test, time-zone: Europe/Rome,
  brokers: { main: { url: "stomp://127.0.0.1:${broker.port}", user: hub, password: secret } } } }`,
    });
    try {
      const client = await hub.client(juliet);
      const romeo = await hub.client('romeo@hub.test');
      await romeo.sends(`<presence to='${juliet}' type='subscribe'/>`);
      await client.sends(`<presence to='romeo@hub.test' type='subscribed'/>`);
      await romeo.receives(e => e.name === 'presence' && e.attrs.from === client.jid && !e.attrs.type);
      await broker.until(() => broker.subscribers === 1, 'the subscription');
      await remind(broker, client);
      await meet(broker, romeo);
      await operate(hub);
      await client.close();
      await romeo.close();
    } finally {
      await hub.close();
      await broker.stop();
    }
  },
};

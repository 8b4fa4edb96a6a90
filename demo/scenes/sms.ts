// Short messages: a message that finds juliet offline reaches her phone, and the phone answers; an SMSC in this process.
import { startTestHub, type TestHub } from '../../test/support/hubs.ts';
import { TestSmsc } from '../../test/support/smsc.ts';
import type { Scene } from '../main.ts';
import { note, says, scene } from '../transcript.ts';

const phone = '+1 555 123 0000';

function configuration(smsc: TestSmsc): string {
  return `bridges:
  sms:
    kind: sms
    domain: sms.hub.test
    smsc: { address: "127.0.0.1:${smsc.port}", system-id: isthmus, password: demo }
    sender: "15550001111"`;
}

async function writeToPhone(hub: TestHub, smsc: TestSmsc): Promise<void> {
  const juliet = await hub.client('juliet@hub.test');
  await juliet.asks('set', `<query xmlns='jabber:iq:register'><phone>${phone}</phone></query>`, 'sms.hub.test');
  says('juliet@hub.test', `tells the bridge her number, ${phone}, and goes offline`);
  await juliet.close();

  const romeo = await hub.client('romeo@hub.test');
  says('romeo@hub.test', 'writes to juliet@hub.test: By yonder blessed moon I swear 🌙');
  await romeo.sends(
    `<message to='juliet@hub.test' type='chat'><body>By yonder blessed moon I swear 🌙</body></message>`,
  );
  const forwarded = await smsc.gets(/moon/);
  says(
    `phone ${phone}`,
    `shows from ${forwarded.from}: “${forwarded.text}” (data coding ${forwarded.dataCoding}: UCS-2)`,
  );
  await smsc.delivers('15551230000', '15550001111', 'O swear not by the moon');
  const answer = await romeo.hears('O swear not by the moon');
  says('romeo@hub.test', `hears from ${answer.attrs.from}: “${answer.childText('body')}”`);

  const ask = `<request xmlns='urn:xmpp:receipts'/>`;
  await romeo.sends(
    `<message to='${answer.attrs.from}' id='m1' type='chat'><body>What shall I swear by?</body>${ask}</message>`,
  );
  const direct = await smsc.gets(/swear by\?/);
  says(`phone ${phone}`, `shows: “${direct.text}”`);
  await smsc.receipt(direct);
  await romeo.receives(e => e.child('received', 'urn:xmpp:receipts') !== null);
  says('romeo@hub.test', 'gets the receipt: it was delivered to the phone');

  await romeo.sends(`<message to='12345@sms.hub.test' id='m2' type='chat'><body>?</body></message>`);
  const error = await romeo.receives(e => e.attrs.id === 'm2' && e.attrs.type === 'error');
  says('romeo@hub.test', `writes to 12345 and is told: ${/<text[^>]*>([^<]*)/.exec(String(error))?.[1]}`);

  const again = await hub.client('juliet@hub.test');
  await again.hears('By yonder blessed moon I swear 🌙');
  says('juliet@hub.test', 'comes online and finds the message waiting for her as well');
  await again.close();
  await romeo.close();
}

async function loseAnAnswer(hub: TestHub, smsc: TestSmsc): Promise<void> {
  scene('The SMSC loses the connection; the message waits and goes out once it is back');
  const romeo = await hub.client('romeo@hub.test');
  smsc.drop();
  await romeo.sends(`<message to='+15551230000@sms.hub.test' type='chat'><body>Do not swear at all</body></message>`);
  await smsc.gets(/at all/);
  says(`phone ${phone}`, 'shows: “romeo: Do not swear at all”');
  const { smscs } = hub.bridges.find('sms').show() as { smscs: { name: string; state: string }[] };
  for (const { name, state } of smscs) note(`isthmus bridge show sms: SMSC ${name} is ${state} again`);
  await romeo.close();
}

export const sms: Scene = {
  title: 'Short messages',
  async play() {
    scene('Short messages: who is offline is reached on the phone (SMPP, an SMSC in this process)');
    const smsc = await TestSmsc.start();
    const hub = await startTestHub(['hub.test'], { yaml: configuration(smsc) });
    try {
      await writeToPhone(hub, smsc);
      await loseAnAnswer(hub, smsc);
    } finally {
      await hub.close();
      await smsc.close();
    }
  },
};

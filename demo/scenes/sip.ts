// A person on XMPP and a person on SIP: they add each other, see each other's presence and chat, over real sockets.
import type { Client } from '../../test/support/client.ts';
import { startTestHub, type TestHub } from '../../test/support/hubs.ts';
import { freePort, type SipPerson, SipSide } from '../../test/support/sip.ts';
import type { Scene } from '../main.ts';
import { note, says, scene } from '../transcript.ts';

const romeoAt = 'romeo@hub.test';
const aliceAt = 'sip:alice@sip.test';

async function add(romeo: Client, alice: SipPerson): Promise<void> {
  await romeo.sends("<presence to='alice@sip.test' type='subscribe'/>");
  await romeo.receives(e => e.attrs.type === 'subscribed');
  says(romeoAt, 'adds alice@sip.test: the bridge sends SUBSCRIBE, her NOTIFY says active');
  await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.attrs.type);
  says(romeoAt, 'sees alice online');
  alice.is('dnd', 'On the phone');
  const busy = await romeo.receives(e => e.childText('show') === 'dnd');
  says(romeoAt, `sees alice busy: “${busy.childText('status')}”`);
  alice.is('open');
  await romeo.receives(e => e.attrs.from === 'alice@sip.test/desk' && !e.childText('show'));
}

async function watch(romeo: Client, alice: SipPerson): Promise<void> {
  const sight = alice.watches('sip:romeo@hub.test');
  await romeo.receives(e => e.attrs.type === 'subscribe');
  await sight.sees('pending');
  says(aliceAt, 'adds romeo: her subscription is pending until he agrees');
  await romeo.sends("<presence to='alice@sip.test' type='subscribed'/>");
  await sight.sees('active orchard:open');
  says(romeoAt, 'agrees; alice sees him online');
  await romeo.sends('<presence><show>away</show><status>u balkónu 🌙</status></presence>');
  await sight.sees('active orchard:away');
  says(aliceAt, `sees romeo away: “${sight.devices[0].status[0][1]}”`);
  await sight.out.end();
  await sight.sees(/^terminated/);
  says(aliceAt, 'hangs up; romeo’s consent is kept for the next time');
}

async function chat(romeo: Client, alice: SipPerson): Promise<void> {
  await romeo.sends(
    "<message to='alice@sip.test' type='chat'><composing xmlns='http://jabber.org/protocol/chatstates'/></message>",
  );
  await alice.hears(/<state>active/);
  says(aliceAt, 'sees that romeo is writing (application/im-iscomposing+xml)');
  await romeo.sends(
    "<message to='alice@sip.test' type='chat' id='m1'><body>Ahoj Alice, slyšíme se? 📞</body><request xmlns='urn:xmpp:receipts'/></message>",
  );
  says(aliceAt, `hears: ${(await alice.hears(/Ahoj/)).text}`);
  await romeo.receives(e => e.child('received', 'urn:xmpp:receipts')?.attrs.id === 'm1');
  says(romeoAt, 'gets a receipt: the 200 was her own phone’s');
  await alice.says('sip:romeo@hub.test', 'Žluťoučký kůň úpěl ďábelské ódy');
  says(romeoAt, `hears: ${(await romeo.hears('Žluťoučký kůň úpěl ďábelské ódy')).childText('body')}`);
}

async function errors(romeo: Client, alice: SipPerson): Promise<void> {
  await romeo.sends("<message to='nobody@sip.test' type='chat' id='e1'><body>?</body></message>");
  const error = await romeo.receives(e => e.attrs.id === 'e1' && e.attrs.type === 'error');
  says(
    romeoAt,
    `writes to nobody@sip.test: ${error.child('error')?.all()[0]?.name} (“${error.child('error')?.childText('text', 'urn:ietf:params:xml:ns:xmpp-stanzas')}”)`,
  );
  const { status, reason } = await alice.says('sip:nobody@hub.test', '?');
  says(aliceAt, `writes to nobody@hub.test: ${status} ${reason}`);
}

async function play(hub: TestHub, side: SipSide): Promise<void> {
  const alice = side.person('alice');
  alice.is('open');
  const romeo = await hub.client(romeoAt, { resource: 'orchard' });
  await romeo.asks('get', "<query xmlns='jabber:iq:roster'/>");
  await add(romeo, alice);
  await watch(romeo, alice);
  await chat(romeo, alice);
  await errors(romeo, alice);
  await romeo.close();
}

export const sip: Scene = {
  title: 'SIP',
  async play() {
    scene('A person on XMPP and a person on SIP, over TCP');
    const side = await SipSide.start();
    const port = await freePort();
    const hub = await startTestHub(['hub.test'], {
      yaml: `
bridges:
  sip:
    kind: sip
    domains: [sip.test]
    listen: ["udp:127.0.0.1:${port}", "tcp:127.0.0.1:${port}"]
    routes: { sip.test: "sip:127.0.0.1:${side.port};transport=tcp" }
    accept-from: ["127.0.0.1"]
`,
    });
    side.reaches(port, 'tcp');
    try {
      await play(hub, side);
      const shown = hub.bridges.find('sip').show();
      for (const key of ['XMPP users who watch SIP users', 'SIP users who watch XMPP users']) {
        note(`isthmus bridge show sip: ${key}: ${JSON.stringify(shown[key])}`);
      }
    } finally {
      await hub.close();
      await side.stop();
    }
  },
};

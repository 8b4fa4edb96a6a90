// Two partner domains: chat and presence over TLS with EXTERNAL, once more with dialback, and a partner that is denied.
import { ns } from '../../src/xmpp/namespaces.ts';
import type { Client } from '../../test/support/client.ts';
import { type PartnerOptions, type Partners, startPartners } from '../../test/support/partners.ts';
import type { Scene } from '../main.ts';
import { note, says, scene } from '../transcript.ts';

async function subscribe(juliet: Client, romeo: Client): Promise<void> {
  await juliet.sends(`<presence to='romeo@montague.test' type='subscribe'/>`);
  await romeo.receives(e => e.attrs.type === 'subscribe');
  says('romeo@montague.test', 'is asked whether juliet may see him, and agrees');
  await romeo.sends(`<presence to='juliet@capulet.test' type='subscribed'/>`);
  await juliet.receives(e => e.name === 'presence' && e.attrs.from === romeo.jid && !e.attrs.type);
  says('juliet@capulet.test', 'sees romeo online');
  await romeo.sends(`<presence><show>away</show><status>under the balcony</status></presence>`);
  const away = await juliet.receives(e => e.attrs.from === romeo.jid && e.childText('show') === 'away');
  says('juliet@capulet.test', `sees romeo away: “${away.childText('status')}”`);
}

async function chat(juliet: Client, romeo: Client): Promise<void> {
  for (const [from, to, address, text] of [
    [juliet, romeo, 'romeo@montague.test', 'Wherefore art thou Romeo?'],
    [romeo, juliet, 'juliet@capulet.test', 'Shall I hear more, or shall I speak at this? 🌙'],
  ] as const) {
    await from.sends(`<message to='${address}' type='chat'><body>${text}</body></message>`);
    await to.hears(text);
    says(to.options.jid, `hears: ${text}`);
  }
}

function tellLinks({ capulet }: Partners): void {
  for (const link of capulet.links.list()) {
    note(
      `link ${link.direction} ${link.direction === 'in' ? 'from' : 'to'} ${link.domain}: ${link.security}, proved by ${link.proof}`,
    );
  }
}

async function play(
  options: PartnerOptions,
  act: (partners: Partners, juliet: Client, romeo: Client) => Promise<void>,
) {
  const partners = await startPartners(options);
  try {
    const juliet = await partners.capulet.client('juliet@capulet.test');
    const romeo = await partners.montague.client('romeo@montague.test');
    await act(partners, juliet, romeo);
    await juliet.close();
    await romeo.close();
  } finally {
    await partners.close();
  }
}

export const federation: Scene = {
  title: 'Two domains',
  async play() {
    scene('Two partner domains, TLS both ways, certificates prove who is who (SASL EXTERNAL)');
    await play({ yaml: 'federation: { security: trusted }' }, async (partners, juliet, romeo) => {
      await chat(juliet, romeo);
      await subscribe(juliet, romeo);
      tellLinks(partners);
    });

    scene('The same with self-signed certificates: TLS, and dialback proves who is who');
    await play({ capulet: { certificate: null }, montague: { certificate: null } }, async (partners, juliet, romeo) => {
      await chat(juliet, romeo);
      tellLinks(partners);
      const [story] = Object.values(partners.capulet.links.show('montague.test').stories as Record<string, string[]>);
      for (const line of story) note(line);

      scene('The operator of capulet.test denies montague.test');
      await partners.capulet.links.setAllowed('montague.test', false);
      await juliet.sends(`<message to='romeo@montague.test' id='denied' type='chat'><body>Romeo?</body></message>`);
      const error = await juliet.receives(e => e.attrs.id === 'denied' && e.attrs.type === 'error');
      says('juliet@capulet.test', `is told: ${error.child('error')?.childText('text', ns.stanzaErrors)}`);
      await romeo.sends(`<message to='juliet@capulet.test' id='denied' type='chat'><body>Juliet?</body></message>`);
      await juliet.hasNot(e => e.childText('body') === 'Juliet?');
      says('juliet@capulet.test', 'hears nothing from romeo any more');
    });
  },
};

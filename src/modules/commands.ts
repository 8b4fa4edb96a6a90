// Ad-hoc commands at the domain and at one's own account: found by discovery, run by those who may (XEP-0050).
import type { IqHandler, Module } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';

export const commands: Module = {
  name: 'commands',
  implements: ['XEP-0050', 'XEP-0004'],
  start(hub) {
    const known = hub.commands;
    const execute: IqHandler = ({ stanza, query, to }) => {
      const at = domainOf(to);
      const node = query.attrs.node ?? '';
      if (node.startsWith(`${ns.administration}#`) && !known.has(node, at)) {
        throw new StanzaError('feature-not-implemented', 'that command is not offered here');
      }
      return known.execute(stanza, at);
    };
    hub.feature('domain', ns.commands);
    hub.feature('account', ns.commands);
    hub.iq(ns.commands, 'command', 'domain', execute);
    hub.iq(ns.commands, 'command', 'own-account', execute);
    hub.discoNodes({
      async info(node, { from, to }) {
        if (!offersTo(from, to)) return null;
        if (node === ns.commands) return info(node, 'command-list', 'Commands', [ns.commands]);
        const at = domainOf(to);
        if (!known.has(node, at)) return null;
        const name = await known.nameOf(node, from, at);
        if (name === null) throw new StanzaError('forbidden', 'that command is not for you');
        return info(node, 'command-node', name, [ns.commands, ns.data]);
      },
      async items(node, { from, to }) {
        if (node === ns.commands) return items(offersTo(from, to) ? await known.list(from, domainOf(to)) : [], to);
        // A command has no items of its own (XEP-0050 §2.3).
        return offersTo(from, to) && known.has(node, domainOf(to)) ? el('query', ns.discoItems, { node }) : null;
      },
    });
  },
};

/** Users find the commands of their domain at their own account as well, where many clients look for them. */
function offersTo(from: Jid, to: Jid): boolean {
  return to.isDomain || from.bare.equals(to);
}

function domainOf(to: Jid): Jid {
  return to.isDomain ? to : Jid.of('', to.domain, '');
}

function info(node: string, type: string, name: string, features: readonly string[]): Element {
  return el(
    'query',
    ns.discoInfo,
    { node },
    el('identity', ns.discoInfo, { category: 'automation', type, name }),
    ...features.map(feature => el('feature', ns.discoInfo, { var: feature })),
  );
}

function items(listed: readonly { node: string; name: string }[], at: Jid): Element {
  return el(
    'query',
    ns.discoItems,
    { node: ns.commands },
    ...listed.map(({ node, name }) => el('item', ns.discoItems, { jid: at.toString(), node, name })),
  );
}

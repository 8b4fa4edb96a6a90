// Ad-hoc commands at the domain: found by discovery, run by those who may (XEP-0050).
import type { Module, Request } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';

export const commands: Module = {
  name: 'commands',
  implements: ['XEP-0050', 'XEP-0004'],
  start(hub) {
    const known = hub.commands;
    hub.feature('domain', ns.commands);
    hub.iq(ns.commands, 'command', 'domain', ({ stanza, query, to }) => {
      const node = query.attrs.node ?? '';
      if (node.startsWith(`${ns.administration}#`) && !known.has(node, to)) {
        throw new StanzaError('feature-not-implemented', 'that command is not offered here');
      }
      return known.execute(stanza);
    });
    hub.discoNodes({
      async info(node, { from, to }) {
        if (!to.isDomain) return null;
        if (node === ns.commands) return info(node, 'command-list', 'Commands', [ns.commands]);
        if (!known.has(node, to)) return null;
        const name = await known.nameOf(node, from, to);
        if (name === null) throw new StanzaError('forbidden', 'that command is not for you');
        return info(node, 'command-node', name, [ns.commands, ns.data]);
      },
      async items(node, { from, to }) {
        if (!to.isDomain) return null;
        if (node === ns.commands) return items(await known.list(from, to), to);
        // A command has no items of its own (XEP-0050 §2.3).
        return known.has(node, to) ? el('query', ns.discoItems, { node }) : null;
      },
    });
  },
};

function info(node: string, type: string, name: string, features: readonly string[]): Element {
  return el(
    'query',
    ns.discoInfo,
    { node },
    el('identity', ns.discoInfo, { category: 'automation', type, name }),
    ...features.map(feature => el('feature', ns.discoInfo, { var: feature })),
  );
}

function items(listed: readonly { node: string; name: string }[], at: Request['to']): Element {
  return el(
    'query',
    ns.discoItems,
    { node: ns.commands },
    ...listed.map(({ node, name }) => el('item', ns.discoItems, { jid: at.toString(), node, name })),
  );
}

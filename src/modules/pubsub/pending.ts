// The command by which owners ask again for the subscription requests that wait for them (XEP-0060 §8.7).
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import { textOf } from '../../xmpp/form.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { askOwners, pendingAt } from './approval.ts';
import { affiliationOf, type Host } from './host.ts';
import type { Node } from './node.ts';

export function pendingCommand(host: Host): AdHocCommand {
  return {
    node: `${ns.pubsub}#get-pending`,
    name: 'Pending subscriptions',
    allowed: from => ownedBy(host, from).length > 0,
    form: from => ({
      title: 'Pending subscriptions',
      instructions: 'Choose a node.',
      fields: [
        { var: 'FORM_TYPE', type: 'hidden', value: `${ns.pubsub}#subscribe_authorization` },
        {
          var: 'pubsub#node',
          type: 'list-single',
          label: 'Node',
          required: true,
          options: ownedBy(host, from)
            .filter(node => pendingAt(host, node).length > 0)
            .map(({ name }) => ({ value: name })),
        },
      ],
    }),
    run(values, from) {
      const node = host.nodes.get(host.address, textOf(values, 'pubsub#node'));
      if (!node) throw new StanzaError('item-not-found', 'there is no such node');
      if (affiliationOf(host, node, from) !== 'owner') throw new StanzaError('forbidden', 'you do not own the node');
      for (const subscriber of pendingAt(host, node)) askOwners(host, node, subscriber, [from]);
      return null;
    },
  };
}

function ownedBy(host: Host, who: Jid): Node[] {
  return host.nodes
    .affiliationsOf(host.address, who.bare.toString())
    .filter(({ affiliation }) => affiliation === 'owner')
    .flatMap(({ node }) => host.nodes.get(host.address, node) ?? []);
}

// XEP-0133 §4.11, §4.12, §4.29: who the domain does not talk to, whom alone it talks to, and who its admins are.
import type { AdHocCommand } from '../../hub/ad-hoc.ts';
import type { Hub } from '../../hub/module.ts';
import type { Origin } from '../../hub/router.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { FormValues } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import { adminsOf } from '../admins.ts';
import { addressesOf, adminCommand, adminForm } from './forms.ts';

const schema = [
  `CREATE TABLE access_lists (
     domain TEXT NOT NULL, list TEXT NOT NULL, jid TEXT NOT NULL, PRIMARY KEY (domain, list, jid)) WITHOUT ROWID`,
];

const lists = ['black', 'white'] as const;
type ListName = (typeof lists)[number];

export function accessCommands(hub: Hub): AdHocCommand[] {
  const access = new AccessLists(hub);
  hub.filter((stanza, origin) => access.pass(stanza, origin));
  const edit = (list: ListName, node: string, name: string, which: string) =>
    adminCommand(hub, node, `Edit ${name}`, {
      form: (_from, at) =>
        adminForm(
          `Editing the ${name}`,
          `Fill out this form to edit the list of entities ${which} communications are ${list === 'black' ? 'disallowed' : 'allowed'}.`,
          {
            var: `${list}listjids`,
            type: 'jid-multi',
            label: `The ${name.toLowerCase()}`,
            value: access.list(at.domain, list),
          },
        ),
      async run(values, _from, at) {
        await access.set(at.domain, list, othersOf(values, `${list}listjids`, at));
        return null;
      },
    });
  const admins = adminsOf(hub);
  return [
    edit('black', 'edit-blacklist', 'Blacklist', 'with whom'),
    edit('white', 'edit-whitelist', 'Whitelist', 'with whom alone'),
    adminCommand(hub, 'edit-admin', 'Edit Admin List', {
      form: (_from, at) =>
        adminForm(
          'Editing the Admin List',
          'Fill out this form to edit the list of entities who have administrative privileges.',
          {
            var: 'adminjids',
            type: 'jid-multi',
            label: 'The admin list',
            value: admins.list(at.domain),
            required: true,
          },
        ),
      async run(values, _from, at) {
        await admins.set(at.domain, addressesOf(values, 'adminjids'));
        return null;
      },
    }),
  ];
}

/** The addresses of a list; the domain itself is on none, since its own users are disabled instead. */
function othersOf(values: FormValues, field: string, at: Jid): Jid[] {
  return addressesOf(values, field, 0).map(jid => {
    if (jid.domain === at.domain) throw new StanzaError('bad-request', `${jid} is of this domain; disable the account`);
    return jid;
  });
}

/** Lists of addresses outside of a domain: an address, an account or a whole domain each (XEP-0016 §2.1). */
class AccessLists {
  readonly #hub: Hub;
  readonly #lists = new Map<string, Set<string>>();

  constructor(hub: Hub) {
    this.#hub = hub;
    hub.store.migrate('access', schema);
    for (const { domain, list, jid } of hub.store.prepare('SELECT * FROM access_lists').all()) {
      this.#of(`${domain} ${list}`).add(String(jid));
    }
  }

  list(domain: string, list: ListName): string[] {
    return [...(this.#lists.get(`${domain} ${list}`) ?? [])].sort();
  }

  async set(domain: string, list: ListName, jids: readonly Jid[]): Promise<void> {
    const { store } = this.#hub;
    const wanted = new Set(jids.map(jid => jid.toString()));
    store.atomic(() => {
      store.prepare('DELETE FROM access_lists WHERE domain = ? AND list = ?').run(domain, list);
      for (const jid of wanted) {
        store.prepare('INSERT INTO access_lists (domain, list, jid) VALUES (?, ?, ?)').run(domain, list, jid);
      }
    });
    if (wanted.size > 0) this.#lists.set(`${domain} ${list}`, wanted);
    else this.#lists.delete(`${domain} ${list}`);
    await store.durable();
  }

  /** Refuses what a list keeps apart, in both directions; errors and answers pass, they would leave somebody waiting. */
  pass(stanza: Stanza, origin: Origin): Stanza {
    if (this.#lists.size === 0 || origin.kind === 'hub' || stanza.isError || stanza.type === 'result') return stanza;
    const from = stanza.from;
    const to = stanza.to!;
    if (!from || from.domain === to.domain) return stanza;
    if (this.#hub.hosts(to.domain)) this.#check(to.domain, from, 'the address is not let in');
    if (this.#hub.hosts(from.domain)) this.#check(from.domain, to, 'the address is not to be reached from here');
    return stanza;
  }

  #check(domain: string, other: Jid, why: string): void {
    const black = this.#lists.get(`${domain} black`);
    const white = this.#lists.get(`${domain} white`);
    if (!black && !white) return;
    const refused = (black && matches(black, other)) || (white && !matches(white, other));
    // Whoever edits the lists must be able to undo what was done.
    if (refused && !adminsOf(this.#hub).has(domain, other)) throw new StanzaError('forbidden', why);
  }

  #of(key: string): Set<string> {
    let list = this.#lists.get(key);
    if (!list) this.#lists.set(key, (list = new Set()));
    return list;
  }
}

function matches(list: ReadonlySet<string>, jid: Jid): boolean {
  return (
    list.has(jid.domain) ||
    list.has(jid.bare.toString()) ||
    list.has(jid.toString()) ||
    (jid.resource !== '' && list.has(Jid.of('', jid.domain, jid.resource).toString()))
  );
}

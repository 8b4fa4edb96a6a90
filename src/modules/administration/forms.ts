// What the commands of XEP-0133 share: their node names, their forms, and the addresses that come in them.
import { type AdHocCommand, CommandFailure } from '../../hub/ad-hoc.ts';
import type { WritableDirectory } from '../../hub/directory.ts';
import type { Hub } from '../../hub/module.ts';
import { type StanzaCondition, StanzaError } from '../../xmpp/errors.ts';
import type { Field, Form, FormValues } from '../../xmpp/form.ts';
import { Jid } from '../../xmpp/jid.ts';
import { ns } from '../../xmpp/namespaces.ts';
import { adminsOf } from '../admins.ts';

const formType: Field = { var: 'FORM_TYPE', type: 'hidden', value: ns.administration };

/** The most addresses that one command takes. */
const mostAddresses = 1_000;

const mistakes: readonly StanzaCondition[] = ['bad-request', 'item-not-found', 'jid-malformed', 'not-acceptable'];

/** A form of XEP-0133, with its hidden type (XEP-0068). */
export function adminForm(title: string, instructions: string, ...fields: Field[]): Form {
  return { title, instructions, fields: [formType, ...fields] };
}

/** A result of XEP-0133. */
export function adminResult(...fields: Field[]): Form {
  return { fields: [formType, ...fields] };
}

/** A command for the admins of the domain it is run at; `name` is the part of its node behind the `#`. */
export function adminCommand(
  hub: Hub,
  name: string,
  title: string,
  rest: Pick<AdHocCommand, 'form' | 'run' | 'offered'>,
): AdHocCommand {
  const admins = adminsOf(hub);
  return {
    node: `${ns.administration}#${name}`,
    name: title,
    allowed: (from, at) => admins.has(at.domain, from),
    ...rest,
    async run(values, from, at) {
      try {
        return await rest.run(values, from, at);
      } catch (error) {
        // The errors of XEP-0133 §5 are for commands that nobody may or can run; these lie in what was filled in.
        if (!(error instanceof StanzaError) || !mistakes.includes(error.condition)) throw error;
        throw new CommandFailure(error.text || error.condition);
      }
    },
  };
}

/** For commands that list or change accounts: only domains whose directory lets the hub do that have them. */
export function withAccounts(hub: Hub): Pick<AdHocCommand, 'offered'> {
  return { offered: at => hub.directory(at.domain)?.writable !== undefined };
}

/** The accounts that such commands are about. */
export function accountsAt(hub: Hub, domain: string): WritableDirectory {
  return hub.directory(domain)!.writable!;
}

/** The one address in a field, of an account of this domain. Throws StanzaError. */
export function accountOf(values: FormValues, field: string, at: Jid): Jid {
  const [jid, ...more] = addressesOf(values, field);
  if (more.length > 0) throw new StanzaError('bad-request', `${field} takes one address`);
  return ofDomain(jid, at).bare;
}

/** The addresses in a field, of accounts of this domain; with their resources. Throws StanzaError. */
export function accountsOf(values: FormValues, field: string, at: Jid): Jid[] {
  return addressesOf(values, field).map(jid => ofDomain(jid, at));
}

/** All addresses in a field, of whichever domain. Throws StanzaError where there is none or one is malformed. */
export function addressesOf(values: FormValues, field: string, least = 1): Jid[] {
  // Some clients send one value with a line for each address.
  const texts = (values.get(field) ?? []).flatMap(value => value.split('\n')).filter(text => text.trim() !== '');
  if (texts.length < least) throw new StanzaError('bad-request', `${field} is empty`);
  if (texts.length > mostAddresses) throw new StanzaError('not-acceptable', `at most ${mostAddresses} addresses`);
  return texts.map(text => {
    const jid = Jid.tryParse(text.trim());
    if (!jid) throw new StanzaError('jid-malformed', `${text.slice(0, 100)} is not an address`);
    return jid;
  });
}

function ofDomain(jid: Jid, at: Jid): Jid {
  if (jid.domain !== at.domain) throw new StanzaError('item-not-found', `${jid} is not of this domain, ${at.domain}`);
  if (jid.local === '') throw new StanzaError('bad-request', `${jid} is no account`);
  return jid;
}

/** Passes where the account exists. Throws `item-not-found`. */
export async function mustExist(hub: Hub, jid: Jid): Promise<void> {
  if (!(await hub.directory(jid.domain)?.find(jid.local))) {
    throw new StanzaError('item-not-found', `there is no account ${jid.bare}`);
  }
}

// Entity capabilities: what clients can do, learnt once for each kind of client and checked by its hash (XEP-0115).
import { createHash } from 'node:crypto';
import type { Hub, Module } from '../hub/module.ts';
import { type Element, el } from '../xmpp/element.ts';
import type { Jid } from '../xmpp/jid.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import { ownInfo } from './disco.ts';

/** The annotation of a presence. `hash` is '' in the legacy format (XEP-0115 §9). */
export interface CapsTag {
  readonly node: string;
  readonly ver: string;
  readonly hash: string;
}

export type Features = ReadonlySet<string>;

/** The hash functions that a verification string can be made with, and their names in OpenSSL. */
const hashes = new Map([
  ['sha-1', 'sha1'],
  ['sha-224', 'sha224'],
  ['sha-256', 'sha256'],
  ['sha-384', 'sha384'],
  ['sha-512', 'sha512'],
]);

/** What the hub calls itself in its own capabilities. */
const ownNode = 'urn:isthmus';
const mostCharacters = 8 * 1024 * 1024;
const mostFeatures = 1_000;
const mostAsked = 10_000;
const patience = 20_000;
const nothing: Features = new Set();

export const caps: Module = {
  name: 'caps',
  implements: ['XEP-0115'],
  start(hub) {
    hub.feature('domain', ns.caps, ns.capsOptimize);
    const own = new Map<string, string | null>();
    const verOf = (domain: string) => {
      let ver = own.get(domain);
      if (ver === undefined) own.set(domain, (ver = verification(ownInfo(hub, 'domain', domain), 'sha-1')));
      return ver;
    };
    hub.streamFeature(domain => {
      const ver = verOf(domain);
      return ver === null ? null : el('c', ns.caps, { hash: 'sha-1', node: ownNode, ver });
    });
    hub.discoNodes({
      info: (node, { to }) =>
        to.isDomain && node === `${ownNode}#${verOf(to.domain)}`
          ? ownInfo(hub, 'domain', to.domain).withAttrs({ node })
          : null,
    });
    hub.on('reloaded', () => own.clear());
  },
};

/** The capabilities tag of a presence, or null. */
export function tagOf(presence: Stanza): CapsTag | null {
  const c = presence.child('c', ns.caps);
  if (!c) return null;
  const { node = '', ver = '', hash = '' } = c.attrs;
  return ver.length > 0 && ver.length <= 256 && node.length <= 1_024 && hash.length <= 32 ? { node, ver, hash } : null;
}

/** The next presence of a session, with the capabilities of the one before where it gives none (XEP-0115 §8.4). */
export function withCaps(before: Stanza | null, presence: Stanza): Stanza {
  if (!before || presence.has('c', ns.caps)) return presence;
  const known = before.child('c', ns.caps);
  return known ? presence.with(known) : presence;
}

/** The presence as those get it who had the one before: without capabilities that are the same still (XEP-0115 §8.4). */
export function withoutKnownCaps(before: Stanza, presence: Stanza): Stanza {
  const known = before.child('c', ns.caps);
  if (!known || known.toString() !== presence.child('c', ns.caps)?.toString()) return presence;
  return presence.without((name, space) => name === 'c' && space === ns.caps);
}

/**
 * The verification string of a disco#info result (XEP-0115 §5.1), or null where the result is ill-formed (§5.4) or holds
 * a `<`, with which one result could be passed off as another.
 */
export function verification(info: Element, hash: string): string | null {
  const algorithm = hashes.get(hash);
  const text = algorithm && summary(info);
  return text ? createHash(algorithm).update(text, 'utf8').digest('base64') : null;
}

/** The text that is hashed, or null where the result is ill-formed. */
function summary(info: Element): string | null {
  const identities: string[] = [];
  for (const { attrs } of info.all('identity')) {
    const { category = '', type = '', 'xml:lang': lang = '', name = '' } = attrs;
    if (category === '' || type === '') return null;
    identities.push(`${category}/${type}/${lang}/${name}`);
  }
  const features = info.all('feature').map(({ attrs }) => attrs.var ?? '');
  const forms = new Map<string, string>();
  for (const form of info.all('x', ns.data)) {
    const fields = form.all('field');
    const formType = fields.find(({ attrs }) => attrs.var === 'FORM_TYPE');
    if (formType?.attrs.type !== 'hidden') continue;
    const names = new Set(formType.all('value').map(value => value.text));
    const [name] = names;
    if (names.size !== 1 || forms.has(name)) return null;
    const parts = [name];
    for (const field of sortedBy(fields, ({ attrs }) => attrs.var ?? '')) {
      if (field === formType) continue;
      parts.push(field.attrs.var ?? '', ...sortedBy(field.all('value').map(one => one.text)));
    }
    if (parts.some(part => part.includes('<'))) return null;
    forms.set(name, parts.join('<'));
  }
  const plain = [...identities, ...features];
  if (new Set(identities).size !== identities.length || new Set(features).size !== features.length) return null;
  if (plain.some(part => part.includes('<'))) return null;
  const all = [...sortedBy(identities), ...sortedBy(features), ...sortedBy([...forms.keys()]).map(n => forms.get(n)!)];
  return all.map(part => `${part}<`).join('');
}

/** Sorted by their octets in UTF-8 (RFC 4790 §9.3). */
function sortedBy<T>(things: readonly T[], key: (thing: T) => string = String): T[] {
  return [...things].sort((a, b) => Buffer.compare(Buffer.from(key(a)), Buffer.from(key(b))));
}

/** What clients can do, by their hashes; shared by all modules. */
export class Capabilities {
  readonly #hub: Hub;
  readonly #verified = new Map<string, { features: Features; size: number }>();
  #characters = 0;
  readonly #asking = new Map<string, Promise<Features | null>>();

  constructor(hub: Hub) {
    this.#hub = hub;
  }

  /** What is known of a tag without asking. */
  known(tag: CapsTag): Features | undefined {
    return this.#verified.get(keyOf(tag))?.features;
  }

  /**
   * What the entity that sent a tag can do. Asks it, as `from`, unless the tag's hash has been verified before. What does
   * not match its hash counts for that entity alone; where there is no answer it can do nothing. Never rejects.
   */
  async of(tag: CapsTag, entity: Jid, from: Jid): Promise<Features> {
    // What no hash vouches for says nothing of others.
    const key = hashes.has(tag.hash) ? keyOf(tag) : ` ${entity}`;
    for (;;) {
      const known = this.#verified.get(key);
      if (known) return known.features;
      const asking = this.#asking.get(key);
      if (!asking) break;
      // Somebody else of the same kind is asked already; where that comes to nothing, this one is.
      if ((await asking) === null && !this.#asking.has(key)) break;
    }
    if (this.#asking.size >= mostAsked) return nothing;
    const answer = this.#ask(tag, entity, from);
    const verified = answer.then(info => (info && verification(info, tag.hash) === tag.ver ? featuresOf(info) : null));
    this.#asking.set(key, verified);
    const features = await verified;
    this.#asking.delete(key);
    if (features) this.#keep(key, features);
    const info = await answer;
    return features ?? (info ? featuresOf(info) : nothing);
  }

  async #ask({ node, ver }: CapsTag, entity: Jid, from: Jid): Promise<Element | null> {
    const query = el('query', ns.discoInfo, { node: `${node}#${ver}` });
    try {
      const answer = await this.#hub.ask(Stanza.of('iq', { type: 'get', from, to: entity }, query), patience);
      const info = answer.isError ? null : answer.child('query', ns.discoInfo);
      return info && info.children.length <= mostFeatures ? info : null;
    } catch {
      return null;
    }
  }

  #keep(key: string, features: Features): void {
    let size = key.length;
    for (const feature of features) size += feature.length;
    this.#verified.set(key, { features, size });
    this.#characters += size;
    for (const [oldest, entry] of this.#verified) {
      if (this.#characters <= mostCharacters) break;
      this.#verified.delete(oldest);
      this.#characters -= entry.size;
    }
  }
}

function keyOf({ hash, ver }: CapsTag): string {
  return `${hash} ${ver}`;
}

function featuresOf(info: Element): Features {
  return new Set(info.all('feature').map(({ attrs }) => attrs.var ?? ''));
}

const ofHub = new WeakMap<object, Capabilities>();

export function capabilitiesOf(hub: Hub): Capabilities {
  let capabilities = ofHub.get(hub.store);
  if (!capabilities) ofHub.set(hub.store, (capabilities = new Capabilities(hub)));
  return capabilities;
}

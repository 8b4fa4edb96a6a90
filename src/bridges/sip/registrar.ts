// The registrar for SIP users who have none: where their telephones are (RFC 3261 §10.3).
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { parseSipAddress } from './addresses.ts';
import type { SipAnswer, SipRequest } from './engine.ts';
import { answerTo } from './errors.ts';
import type { KeptBinding } from './ledger.ts';
import type { Surroundings } from './surroundings.ts';

const shortest = 60;
const usual = 3_600;
const mostOfOne = 10;
const mostBindings = 100_000;

interface Wanted {
  contact: string;
  expires: number;
}

export class Registrar {
  readonly #around: Surroundings;
  readonly #changed: (address: Jid) => void;
  readonly #bindings = new Map<string, Map<string, KeptBinding & { timer: NodeJS.Timeout }>>();
  #count = 0;

  /** `changed` is called when somebody comes, moves or goes. */
  constructor(around: Surroundings, changed: (address: Jid) => void) {
    this.#around = around;
    this.#changed = changed;
  }

  start(): void {
    for (const kept of this.#around.ledger.bindings(this.#around.port.domains)) {
      if (kept.expires > Date.now()) this.#add(kept);
      else this.#around.ledger.dropBinding(kept);
    }
  }

  stop(): void {
    for (const bindings of this.#bindings.values()) for (const { timer } of bindings.values()) clearTimeout(timer);
  }

  /** The contacts of an address, the one that registered last first. */
  contacts(address: Jid): string[] {
    return [...(this.#bindings.get(address.bare.toString())?.keys() ?? [])].reverse();
  }

  show(): Record<string, unknown> {
    return { people: this.#bindings.size, contacts: this.#count };
  }

  /** A REGISTER. Never rejects but for a bug. */
  async register(request: SipRequest): Promise<SipAnswer> {
    try {
      const address = await this.#around.sender(request);
      const { user, host } = parseSipAddress(request.to);
      const own = parseSipAddress(request.from);
      if (user !== own.user || host !== own.host) {
        throw new StanzaError('forbidden', 'everybody registers themselves');
      }
      return await this.#accept(request, address);
    } catch (error) {
      return answerTo(error);
    }
  }

  async #accept(request: SipRequest, address: Jid): Promise<SipAnswer> {
    const wanted = this.#wanted(request, address);
    const brief = wanted.find(({ expires }) => expires > 0 && expires < shortest);
    if (brief) return { status: 423, reason: 'Interval Too Brief', headers: [['Min-Expires', String(shortest)]] };
    const sequence = Number(/^\s*(\d{1,10})/.exec(request.header('cseq') ?? '')?.[1] ?? 0);
    const known = this.#bindings.get(address.toString());
    for (const { contact } of wanted) {
      const binding = known?.get(contact);
      // Older than what is known of the same telephone (§10.3, step 7).
      if (binding?.callId === request.callId && binding.sequence >= sequence) {
        throw new StanzaError('internal-server-error', 'the REGISTER is out of order');
      }
    }
    const fresh = wanted.filter(({ contact, expires }) => expires > 0 && !known?.has(contact)).length;
    if ((known?.size ?? 0) + fresh > mostOfOne || this.#count + fresh > mostBindings) {
      throw new StanzaError('resource-constraint', 'there are too many contacts');
    }
    for (const { contact, expires } of wanted) {
      const old = known?.get(contact);
      if (old) this.#remove(old);
      if (expires === 0) continue;
      const kept = { address, contact, callId: request.callId, sequence, expires: Date.now() + expires * 1000 };
      this.#around.ledger.keepBinding(kept);
      this.#add(kept);
    }
    await this.#around.ledger.durable();
    const isDifferent = fresh > 0 || wanted.some(({ expires }) => expires === 0);
    if (isDifferent) this.#changed(address);
    return { status: 200, headers: this.#listed(address) };
  }

  /** What a REGISTER asks for, each contact once. Throws `bad-request`. */
  #wanted(request: SipRequest, address: Jid): Wanted[] {
    const contacts = request.headersOf('contact');
    const header = secondsOf(request.header('expires'));
    if (contacts.some(text => text.trim() === '*')) {
      if (contacts.length > 1 || header !== 0) throw new StanzaError('bad-request', 'Contact: * is for Expires: 0');
      return this.contacts(address).map(contact => ({ contact, expires: 0 }));
    }
    const wanted = new Map<string, Wanted>();
    for (const text of contacts) {
      const match = /^[^<]*<([^>]+)>(.*)$/.exec(text) ?? /^\s*([^\s;]+)(.*)$/.exec(text);
      const contact = match?.[1].trim() ?? '';
      parseSipAddress(contact);
      const own = secondsOf(/;\s*expires\s*=\s*"?(\d{1,10})/i.exec(match?.[2] ?? '')?.[1]);
      wanted.set(contact, { contact, expires: Math.min(own ?? header ?? usual, usual) });
    }
    return [...wanted.values()];
  }

  #listed(address: Jid): [string, string][] {
    const bindings = [...(this.#bindings.get(address.toString())?.values() ?? [])];
    return bindings.map(({ contact, expires }) => [
      'Contact',
      `<${contact}>;expires=${Math.max(1, Math.round((expires - Date.now()) / 1000))}`,
    ]);
  }

  #add(kept: KeptBinding): void {
    const key = kept.address.toString();
    const timer = setTimeout(() => {
      this.#remove(kept);
      this.#changed(kept.address);
    }, kept.expires - Date.now());
    timer.unref();
    const bindings = this.#bindings.get(key);
    if (bindings) bindings.set(kept.contact, { ...kept, timer });
    else this.#bindings.set(key, new Map([[kept.contact, { ...kept, timer }]]));
    this.#count++;
  }

  #remove({ address, contact }: KeptBinding): void {
    const key = address.toString();
    const bindings = this.#bindings.get(key);
    const binding = bindings?.get(contact);
    if (!binding) return;
    clearTimeout(binding.timer);
    bindings!.delete(contact);
    if (bindings!.size === 0) this.#bindings.delete(key);
    this.#count--;
    this.#around.ledger.dropBinding(binding);
  }
}

function secondsOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\s*\d{1,10}\s*$/.test(text) ? Number(text) : undefined;
}

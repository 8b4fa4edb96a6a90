// The presence server for SIP users who have none: takes their PUBLISH and tells who may see it (RFC 3903, RFC 3856).
import { randomBytes } from 'node:crypto';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import { jidOfSip, sipAddress } from './addresses.ts';
import type { Device } from './device.ts';
import type { Notification, SipAnswer, SipRequest, SubscriptionOut, Watching, WatchListener } from './engine.ts';
import { answerTo } from './errors.ts';
import type { KeptPublication } from './ledger.ts';
import { pidfType, readPidf, writePidf } from './pidf.ts';
import type { Surroundings } from './surroundings.ts';

const shortest = 60;
const longest = 3_600;
/** Publications of one person: devices that have each published, and some that have gone without a word. */
const mostOfOne = 16;
const mostPublications = 100_000;

interface Publication extends KeptPublication {
  devices: Device[];
  timer: NodeJS.Timeout;
}

/** Somebody who sees, or waits to see, what is published. */
interface Spectator {
  readonly presentity: Jid;
  readonly from: Jid;
  readonly listener: WatchListener;
}

export interface PublicationsView {
  /** Whether a SIP user watches this user of XMPP: who is watched back may look, where `server` is mutual. */
  watchesXmpp(presentity: Jid, user: Jid): boolean;
  /** Whether a SIP user has registered here. */
  registered(presentity: Jid): boolean;
}

export class Publications {
  readonly #around: Surroundings;
  readonly #view: PublicationsView;
  readonly #published = new Map<string, Map<string, Publication>>();
  readonly #spectators = new Map<string, Set<Spectator>>();
  #count = 0;

  constructor(around: Surroundings, view: PublicationsView) {
    this.#around = around;
    this.#view = view;
  }

  start(): void {
    for (const kept of this.#around.ledger.publications(this.#around.port.domains)) {
      if (kept.expires > Date.now()) this.#take(kept);
      else this.#around.ledger.dropPublication(kept.presentity, kept.tag);
    }
  }

  /** A document that cannot be read any more, by a later version of the hub, is dropped: its device publishes anew. */
  #take(kept: KeptPublication): void {
    try {
      this.#add(kept, readPidf(kept.document));
    } catch {
      this.#around.ledger.dropPublication(kept.presentity, kept.tag);
    }
  }

  stop(): void {
    for (const tags of this.#published.values()) for (const { timer } of tags.values()) clearTimeout(timer);
  }

  show(): Record<string, unknown> {
    return { people: this.#published.size, publications: this.#count };
  }

  /** A PUBLISH (RFC 3903 §6). Never rejects but for a bug. */
  async publish(request: SipRequest): Promise<SipAnswer> {
    if ((request.header('event') ?? '').split(';')[0].trim().toLowerCase() !== 'presence') {
      return { status: 489, reason: 'Bad Event', headers: [['Allow-Events', 'presence']] };
    }
    try {
      const presentity = await this.#around.sender(request);
      if (!this.#around.recipient(request).bare.equals(presentity)) {
        throw new StanzaError('forbidden', 'everybody publishes for themselves');
      }
      return await this.#accept(request, presentity);
    } catch (error) {
      return answerTo(error);
    }
  }

  async #accept(request: SipRequest, presentity: Jid): Promise<SipAnswer> {
    const asked = request.header('expires');
    const seconds = asked === undefined ? longest : Number(/^\s*\d{1,10}\s*$/.test(asked) ? asked : Number.NaN);
    if (Number.isNaN(seconds)) throw new StanzaError('bad-request', 'Expires is no number');
    if (seconds > 0 && seconds < shortest) {
      return { status: 423, reason: 'Interval Too Brief', headers: [['Min-Expires', String(shortest)]] };
    }
    const tags = this.#published.get(presentity.toString());
    const match = request.header('sip-if-match')?.trim();
    const known = match === undefined ? undefined : tags?.get(match);
    if (match !== undefined && !known) return { status: 412, reason: 'Conditional Request Failed' };
    if (request.body.length === 0 && !known) throw new StanzaError('bad-request', 'there is nothing to publish');
    if (request.body.length > 0 && request.contentType.split(';')[0].trim().toLowerCase() !== pidfType) {
      return { status: 415, reason: 'Unsupported Media Type', headers: [['Accept', pidfType]] };
    }
    const document = request.body.length > 0 ? new Uint8Array(request.body) : known!.document;
    const devices = readPidf(document);
    if (!known && ((tags?.size ?? 0) >= mostOfOne || this.#count >= mostPublications)) {
      throw new StanzaError('resource-constraint', 'there are too many publications');
    }
    if (known) this.#remove(known);
    const expires = Math.min(seconds, longest);
    const tag = randomBytes(9).toString('base64url');
    if (expires > 0) {
      const kept = { presentity, tag, expires: Date.now() + expires * 1000, document };
      this.#around.ledger.keepPublication(kept);
      this.#add(kept, devices);
    }
    await this.#around.ledger.durable();
    this.changed(presentity);
    const headers: [string, string][] = [
      ['SIP-ETag', tag],
      ['Expires', String(expires)],
    ];
    return { status: 200, headers };
  }

  /** As `Engine.subscribe`, for somebody whose presence is kept here. */
  subscribe(wish: Watching, listener: WatchListener): SubscriptionOut {
    const spectator: Spectator = { presentity: jidOfSip(wish.uri).bare, from: jidOfSip(wish.from).bare, listener };
    const key = spectator.presentity.toString();
    const all = this.#spectators.get(key);
    if (all) all.add(spectator);
    else this.#spectators.set(key, new Set([spectator]));
    // As over the wire: nothing is told before the caller has what this returns.
    queueMicrotask(() => this.#tell(spectator));
    return {
      id: key,
      refresh: () => this.#tell(spectator),
      end: async () => {
        if (this.#leave(spectator)) listener.ended({ kind: 'closed', status: 0, reason: '', retryAfter: undefined });
      },
    };
  }

  /** What somebody has published, or who may see it, is different now. */
  changed(presentity: Jid): void {
    for (const spectator of this.#spectators.get(presentity.bare.toString()) ?? []) this.#tell(spectator);
  }

  #leave(spectator: Spectator): boolean {
    const key = spectator.presentity.toString();
    const all = this.#spectators.get(key);
    const was = all?.delete(spectator) ?? false;
    if (all?.size === 0) this.#spectators.delete(key);
    return was;
  }

  #maySee({ presentity, from }: Spectator): boolean {
    if (this.#around.config.presence.server === 'open') return true;
    if (!this.#around.owns(from.domain)) return this.#view.watchesXmpp(presentity, from);
    const back = this.#spectators.get(from.toString()) ?? [];
    return [...back].some(one => one.from.equals(presentity));
  }

  #tell(spectator: Spectator): void {
    if (!this.#spectators.get(spectator.presentity.toString())?.has(spectator)) return;
    const isLet = this.#maySee(spectator);
    const { presentity } = spectator;
    const entity = sipAddress(presentity);
    const notification: Notification = {
      state: isLet ? 'active' : 'pending',
      reason: '',
      retryAfter: undefined,
      expires: undefined,
      contentType: isLet ? pidfType : '',
      body: isLet ? writePidf(entity, this.#devices(presentity), () => entity) : new Uint8Array(0),
    };
    spectator.listener.notify(notification);
  }

  /** The devices of all publications; who has registered and publishes nothing is on the telephone that registered. */
  #devices(presentity: Jid): Device[] {
    const tags = this.#published.get(presentity.toString());
    // Of a device that has published twice, the later word counts: it has lost the tag of the first.
    const found = new Map<string, Device>();
    for (const { devices } of tags?.values() ?? []) for (const device of devices) found.set(device.name, device);
    if (tags) return [...found.values()];
    if (!this.#view.registered(presentity)) return [];
    return [{ name: 'phone', reachable: false, open: true, show: '', status: [], priority: 0, idleSince: null }];
  }

  #add(kept: KeptPublication, devices: Device[]): void {
    const key = kept.presentity.toString();
    const tags = this.#published.get(key) ?? new Map<string, Publication>();
    const timer = setTimeout(() => {
      this.#remove(publication);
      this.changed(kept.presentity);
    }, kept.expires - Date.now());
    timer.unref();
    const publication: Publication = { ...kept, devices, timer };
    tags.set(kept.tag, publication);
    this.#published.set(key, tags);
    this.#count++;
  }

  #remove({ presentity, tag, timer }: Publication): void {
    clearTimeout(timer);
    const key = presentity.toString();
    const tags = this.#published.get(key);
    if (!tags?.delete(tag)) return;
    this.#count--;
    if (tags.size === 0) this.#published.delete(key);
    this.#around.ledger.dropPublication(presentity, tag);
  }
}

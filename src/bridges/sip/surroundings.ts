// What the parts of a SIP bridge share: the way to XMPP, the engine, the ledger, and what is counted.
import { isIP } from 'node:net';
import { toldOf } from '../../hub/failure.ts';
import { StanzaError } from '../../xmpp/errors.ts';
import type { Jid } from '../../xmpp/jid.ts';
import type { Stanza } from '../../xmpp/stanza.ts';
import type { BridgePort } from '../bridge.ts';
import { jidOfSip } from './addresses.ts';
import type { SipConfig } from './config.ts';
import type { Counts } from './counts.ts';
import type { Engine, SipRequest } from './engine.ts';
import { errorIn, LoopError } from './errors.ts';
import type { Ledger } from './ledger.ts';

export class Surroundings {
  readonly port: BridgePort;
  readonly engine: Engine;
  readonly ledger: Ledger;
  readonly config: SipConfig;
  readonly counts: Counts;
  /** Stanzas under way into XMPP, by their name: what to do when they come back as an error meanwhile. */
  readonly #underWay = new Map<string, (error: StanzaError) => void>();

  constructor(port: BridgePort, engine: Engine, ledger: Ledger, config: SipConfig, counts: Counts) {
    this.port = port;
    this.engine = engine;
    this.ledger = ledger;
    this.config = config;
    this.counts = counts;
  }

  /** Whether a SIP domain is this bridge's. */
  owns(domain: string): boolean {
    return this.port.domains.includes(domain);
  }

  /**
   * Hands a stanza to XMPP; resolves when it was taken or refused. Never rejects. Of a domain that was denied nothing
   * more is heard but errors, and that its people have gone.
   */
  async tell(stanza: Stanza): Promise<void> {
    const isLast = stanza.isError || stanza.type === 'unavailable';
    if (!isLast && this.port.refusal(stanza.from!.domain) !== null) return;
    try {
      await this.port.receive(stanza);
    } catch (error) {
      this.port.log.warn({ err: error, to: stanza.to?.domain }, 'XMPP did not take a stanza from SIP');
    }
  }

  /** As `tell`; resolves with the error with which the stanza came back at once, or null where none has (yet). */
  async offer(stanza: Stanza): Promise<StanzaError | null> {
    const key = nameOf(stanza.from!, stanza.to!, stanza.id);
    let refused: StanzaError | null = null;
    this.#underWay.set(key, error => {
      refused = error;
    });
    try {
      await this.port.receive(stanza);
    } catch (error) {
      refused = toldOf(error);
    } finally {
      this.#underWay.delete(key);
    }
    return refused;
  }

  /** An error came back. True: `offer` has been waiting for it. */
  cameBack(stanza: Stanza): boolean {
    const waiting = this.#underWay.get(nameOf(stanza.to!, stanza.from!, stanza.id));
    waiting?.(errorIn(stanza));
    return waiting !== undefined;
  }

  /** Whether somebody of a domain that is shared with XMPP has an account: then nobody speaks for them on SIP. */
  async isOnXmpp(jid: Jid): Promise<boolean> {
    const directory = this.owns(jid.domain) ? this.port.directory(jid.domain) : undefined;
    return directory !== undefined && (await directory.find(jid.local)) !== null;
  }

  /** The SIP user that a request comes from. Throws a StanzaError where that is nobody of our domains. */
  async sender(request: SipRequest): Promise<Jid> {
    const from = jidOfSip(request.from, this.port.domains[0]).bare;
    if (!this.owns(from.domain)) {
      throw new StanzaError('forbidden', `${from.domain} is no SIP domain that is bridged here`);
    }
    if (from.local === '') throw new StanzaError('jid-malformed', 'the sender has no user part');
    const refusal = this.port.refusal(from.domain);
    if (refusal) throw new StanzaError('forbidden', refusal);
    if (await this.isOnXmpp(from)) throw new StanzaError('forbidden', `${from} is on XMPP`);
    return from;
  }

  /**
   * Whom a request is for: the request-URI's user, or To's where the request-URI is only where to send it (a host
   * without a user, an IP address). Throws a StanzaError.
   */
  recipient(request: SipRequest): Jid {
    const aimed = jidOfSip(request.uri, this.port.domains[0]);
    const isAddress = aimed.domain.startsWith('[') || isIP(aimed.domain) !== 0;
    const jid = aimed.local === '' || isAddress ? jidOfSip(request.to, this.port.domains[0]) : aimed;
    if (jid.local === '') throw new StanzaError('jid-malformed', 'the request names no user');
    return jid;
  }

  /**
   * Throws where a request for this user cannot go on to XMPP: `item-not-found` where a domain hosted here has no such
   * user, a `LoopError` where it would come straight back to SIP.
   */
  async checkWay(user: Jid): Promise<void> {
    const directory = this.port.directory(user.domain);
    if (!directory) {
      if (this.owns(user.domain)) throw new LoopError();
    } else if ((await directory.find(user.local)) === null) {
      throw new StanzaError('item-not-found', 'there is no such user');
    }
  }
}

function nameOf(from: Jid, to: Jid, id: string): string {
  return `${from.bare} ${to.bare} ${id}`;
}

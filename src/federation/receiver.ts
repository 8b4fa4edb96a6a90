// The receiving and the authoritative side of dialback on an incoming stream (XEP-0220 §2.1–§2.4).
import { StreamError } from '../xmpp/errors.ts';
import type { Stanza } from '../xmpp/stanza.ts';
import type { Stream } from '../xmpp/stream.ts';
import { dialbackElement, dialbackKey, sameKey } from './dialback.ts';
import type { Verdict } from './edge.ts';
import type { Links } from './links.ts';
import { LinkError } from './steps.ts';
import type { Story } from './story.ts';

/** The most keys of one stream that are being verified at once. */
const mostVerifying = 20;

/** What of an incoming stream dialback needs. */
export interface Receiving {
  readonly stream: Stream;
  readonly story: Story;
  /** Where the peer connected from, for the log. */
  readonly address: string;
  /** The id that we gave the stream. */
  readonly streamId: string;
  /** Whether the stream holds as many pairs as it may. */
  readonly isFull: boolean;
  /** What the peer's certificate proves of a domain. */
  judge(domain: string): Verdict;
  /** The remote domain has proved itself to the local one. */
  proved(remote: string, local: string): void;
  /** The stream served its purpose as one that only asks about keys. */
  verified(): void;
  refuse(error: StreamError): void;
}

type Answer = (more: Parameters<typeof dialbackElement>[3]) => void;

export class DialbackReceiver {
  readonly #links: Links;
  readonly #link: Receiving;
  #verifying = 0;

  constructor(links: Links, link: Receiving) {
    this.#links = links;
    this.#link = link;
  }

  /** A key to be checked with the authoritative server of the domain (XEP-0220 §2.1, §2.4). */
  result(stanza: Stanza): void {
    const link = this.#link;
    const pair = this.#pairOf(stanza);
    if (!pair) return;
    const { from, to } = pair;
    const answer: Answer = more => link.stream.sendText(dialbackElement('result', to, from, more));
    if (!this.#links.serves(to)) return answer({ error: 'item-not-found', text: `${to} is not served here` });
    const refusal = this.#links.policy.refusal(from);
    if (refusal) {
      link.story.add(`dialback of ${from}: refused (${refusal})`);
      return answer({ error: 'not-allowed', text: refusal });
    }
    const security = this.#links.policy.security(from);
    if (security !== 'verified' && !link.stream.isSecure) {
      return answer({ error: 'policy-violation', text: `TLS is asked of ${from} here` });
    }
    // The certificate proves the name: there is nothing to call back for (XEP-0344 §2).
    if (link.stream.isSecure && link.judge(from).valid) {
      link.story.add(`dialback of ${from}: the certificate proves it`);
      answer({ type: 'valid' });
      return link.proved(from, to);
    }
    if (security === 'trusted') {
      return answer({ error: 'not-authorized', text: `no valid certificate for ${from}: ${link.judge(from).reason}` });
    }
    if (this.#verifying >= mostVerifying || link.isFull) {
      return answer({ error: 'resource-constraint', text: 'too many keys at once' });
    }
    void this.#callBack(from, to, stanza.element.text.trim(), answer);
  }

  async #callBack(from: string, to: string, key: string, answer: Answer): Promise<void> {
    const { story, stream, address, streamId } = this.#link;
    this.#verifying++;
    try {
      const valid = await this.#links.verify(from, to, streamId, key, story);
      if (stream.isClosing) return;
      story.add(`dialback of ${from}: ${valid ? 'valid' : 'invalid'}`);
      answer({ type: valid ? 'valid' : 'invalid' });
      if (valid) this.#link.proved(from, to);
      else this.#links.log.warn({ remote: from, address }, 'dialback key is not valid');
    } catch (error) {
      const text = (error as Error).message;
      const unknown = error instanceof LinkError && error.condition === 'remote-server-not-found';
      story.add(`dialback of ${from}: ${text}`);
      this.#links.log.info({ remote: from, address, reason: text }, 'dialback failed');
      answer({ error: unknown ? 'remote-server-not-found' : 'remote-server-timeout', text });
    } finally {
      this.#verifying--;
    }
  }

  /** We are asked, as the authoritative server, whether a key is ours (XEP-0220 §2.3). */
  verify(stanza: Stanza): void {
    const link = this.#link;
    const pair = this.#pairOf(stanza);
    if (!pair) return;
    const { from, to } = pair;
    const { id } = stanza;
    const answer: Answer = more => link.stream.sendText(dialbackElement('verify', to, from, { id, ...more }));
    if (!this.#links.serves(to)) return answer({ error: 'item-not-found', text: `${to} is not served here` });
    const wanted = dialbackKey(this.#links.edge.dialbackSecret, from, to, id);
    answer({ type: sameKey(wanted, stanza.element.text.trim()) ? 'valid' : 'invalid' });
    link.verified();
  }

  #pairOf({ from, to }: Stanza): { from: string; to: string } | null {
    if (from && to) return { from: from.domain, to: to.domain };
    this.#link.refuse(new StreamError('improper-addressing', 'dialback names both domains'));
    return null;
  }
}

// The steps of an outgoing link, each a way to make the stream more secure or better known (RFC 6120 §4.3).
import type { SecureContext, TLSSocket } from 'node:tls';
import { domainToASCII } from 'node:url';
import type { Security } from '../hub/config.ts';
import { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { el } from '../xmpp/element.ts';
import type { StanzaCondition } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stanza } from '../xmpp/stanza.ts';
import type { Stream } from '../xmpp/stream.ts';
import type { Conversation } from './conversation.ts';
import { dialbackElement, dialbackKey } from './dialback.ts';
import type { Judge, Verdict } from './edge.ts';
import type { Story } from './story.ts';

/** Why a link could not be made: what its stanzas are answered with, and whether trying again soon may help. */
export class LinkError extends Error {
  override readonly name = 'LinkError';
  readonly condition: StanzaCondition;
  readonly permanent: boolean;
  /** The peer refused EXTERNAL and closed: another try without it may go through. */
  readonly withoutExternal: boolean;

  constructor(condition: StanzaCondition, text: string, more: { permanent?: boolean; withoutExternal?: boolean } = {}) {
    super(text);
    this.condition = condition;
    this.permanent = more.permanent ?? false;
    this.withoutExternal = more.withoutExternal ?? false;
  }
}

/** A link in the making: what the steps know and change. */
export interface Making {
  readonly local: string;
  readonly remote: string;
  readonly stream: Stream;
  readonly talk: Conversation;
  readonly story: Story;
  readonly security: Security;
  readonly context: SecureContext | null;
  readonly judge: Judge;
  /** Further proofs of the peer's certificate, where the ordinary one fails and the policy asks for one. */
  readonly prove: (socket: TLSSocket) => Promise<Verdict>;
  readonly dialbackSecret: string;
  /** EXTERNAL failed on an earlier try, so it is left out. */
  skipExternal: boolean;
  /** The id of the peer's stream, as of the last header. */
  streamId: string;
  /** The peer speaks dialback, by feature or by the namespace of its header. */
  dialback: boolean;
  /** What the peer's certificate proves; null on a plain stream. */
  verdict: Verdict | null;
  /** How we were taken for `local`: '' not yet. */
  proof: '' | 'external' | 'dialback';
  /** We asked for, and will accept, stanzas of the peer on this stream (XEP-0288). */
  bidi: boolean;
  /** What an earlier stream left behind, to be resumed; null once that has been decided. */
  lost: Acknowledgements | null;
  /** Stream management of this stream, where the peer has it (XEP-0198). */
  acks: Acknowledgements | null;
  /** `acks` is that of the earlier stream, which goes on. */
  resumed: boolean;
  /** Stanzas that came while something else was awaited. */
  readonly early: Stanza[];
}

export type Outcome = 'restart' | 'next' | 'done';

/** One step: whether the features call for it, and what comes of it. */
export interface Step {
  readonly name: string;
  wanted(making: Making, features: Stanza): boolean;
  run(making: Making, features: Stanza): Promise<Outcome>;
}

/** STARTTLS, or an end where the policy asks for TLS and the peer has none (RFC 6120 §5). */
export const startTls: Step = {
  name: 'starttls',
  wanted: making => !making.stream.isSecure,
  async run(making, features) {
    const { stream, talk, story } = making;
    if (!features.has('starttls', ns.tls)) {
      story.add('the peer offers no TLS');
      if (making.security === 'verified') return 'next';
      throw new LinkError('policy-violation', `${making.remote} offers no TLS, and we ask for \`${making.security}\``);
    }
    stream.sendText(`<starttls xmlns='${ns.tls}'/>`);
    const answer = await talk.next('the answer to STARTTLS');
    if (answer.ns !== ns.tls || answer.name !== 'proceed') {
      throw new LinkError('remote-server-timeout', `${making.remote} refused STARTTLS`);
    }
    await secureAsClient(making);
    return 'restart';
  },
};

/** Makes the stream TLS as its client, and judges the peer's certificate; ends it where the policy asks for more. */
export async function secureAsClient(making: Making, alpn?: string): Promise<void> {
  const { stream, story } = making;
  const socket = await stream.secure({
    client: {
      servername: domainToASCII(making.remote),
      rejectUnauthorized: false,
      secureContext: making.context ?? undefined,
      ALPNProtocols: alpn ? [alpn] : undefined,
    },
  });
  story.add(`TLS: ${socket.getProtocol()} ${socket.getCipher().name}`);
  let verdict = making.judge(socket, making.remote);
  if (!verdict.valid && making.security === 'trusted') verdict = await making.prove(socket);
  making.verdict = verdict;
  story.add(`certificate of ${making.remote}: ${describe(verdict)}`);
  if (making.security === 'trusted' && !verdict.valid) {
    throw new LinkError(
      'policy-violation',
      `the certificate of ${making.remote} is not valid for it: ${verdict.reason}`,
    );
  }
}

/** Has the peer answer on this stream as well (XEP-0288 §2.2). */
export const bidi: Step = {
  name: 'bidi',
  // COMPAT(ejabberd before 26.07): it names the feature as the request is named.
  wanted: (making, features) =>
    !making.bidi && making.proof === '' && (features.has('bidi', ns.bidiFeature) || features.has('bidi', ns.bidi)),
  async run(making) {
    making.stream.sendText(`<bidi xmlns='${ns.bidi}'/>`);
    making.bidi = true;
    making.story.add('bidi: asked for');
    return 'next';
  },
};

/** SASL EXTERNAL: our certificate proves who we are (RFC 6120 §6, XEP-0178 §3). */
export const saslExternal: Step = {
  name: 'external',
  wanted: (making, features) =>
    making.proof === '' &&
    !making.skipExternal &&
    making.stream.isSecure &&
    making.context !== null &&
    (features.child('mechanisms', ns.sasl)?.all('mechanism') ?? []).some(mechanism => mechanism.text === 'EXTERNAL'),
  async run(making) {
    const { stream, talk, story } = making;
    const authzid = Buffer.from(making.local).toString('base64');
    stream.sendText(`<auth xmlns='${ns.sasl}' mechanism='EXTERNAL'>${authzid}</auth>`);
    let answer: Stanza;
    try {
      answer = await talk.next('the answer to EXTERNAL');
    } catch (error) {
      throw new LinkError('remote-server-timeout', (error as Error).message, { withoutExternal: true });
    }
    if (answer.ns === ns.sasl && answer.name === 'success') {
      story.add('EXTERNAL: accepted');
      making.proof = 'external';
      stream.restart();
      return 'restart';
    }
    const condition = answer.children.find(child => child.name !== 'text')?.name ?? answer.name;
    const text = answer.child('text', ns.sasl)?.text;
    story.add(`EXTERNAL: refused with ${condition}${text ? ` (${text})` : ''}`);
    making.skipExternal = true;
    if (making.security === 'trusted') {
      throw new LinkError('policy-violation', `${making.remote} refused our certificate: ${text || condition}`);
    }
    return 'next';
  },
};

/** Dialback: the peer asks the authoritative server of our domain (XEP-0220 §2.1). */
export const dialback: Step = {
  name: 'dialback',
  wanted: making => making.proof === '',
  async run(making) {
    const { stream, talk, story, local, remote } = making;
    if (making.security === 'trusted') {
      throw new LinkError('policy-violation', `${remote} offers no EXTERNAL, and we ask for \`trusted\``);
    }
    if (!making.dialback) {
      throw new LinkError('remote-server-timeout', `${remote} offers neither EXTERNAL nor dialback to us`);
    }
    const key = dialbackKey(making.dialbackSecret, remote, local, making.streamId);
    stream.sendText(dialbackElement('result', local, remote, { key }));
    for (;;) {
      const answer = await talk.next('the dialback result');
      if (answer.ns !== ns.dialback || answer.name !== 'result') continue;
      if (answer.from?.domain !== remote || answer.to?.domain !== local) continue;
      if (answer.type === 'valid') {
        story.add('dialback: valid');
        making.proof = 'dialback';
        return 'next';
      }
      const error = answer.child('error', ns.client);
      const condition = error?.all().find(child => child.ns === ns.stanzaErrors && child.name !== 'text')?.name;
      const text = error?.childText('text', ns.stanzaErrors) || condition || answer.type;
      story.add(`dialback: ${answer.type}${condition ? ` ${condition}` : ''}${text ? ` (${text})` : ''}`);
      throw new LinkError('remote-server-timeout', `${remote} refused our dialback key: ${text}`);
    }
  },
};

/** How many stanzas may be on their way to a peer without its acknowledgement. */
const mostUnacknowledged = 5_000;
/** How long a few stanzas go without a request for it, in ms. */
export const requestDelay = 500;

/** Stream management: goes on with a stream that was lost, or begins anew (XEP-0198 §3, §5). */
export const streamManagement: Step = {
  name: 'stream management',
  wanted: (making, features) => making.proof !== '' && features.has('sm', ns.streamManagement),
  async run(making) {
    const { stream, story, lost } = making;
    if (lost?.id) {
      stream.sendElement(el('resume', ns.streamManagement, { previd: lost.id, h: String(lost.received) }));
      const answer = await managementAnswer(making, 'the answer to the resumption');
      const { h } = answer.element.attrs;
      if (answer.name === 'resumed') {
        lost.acknowledge(h);
        making.acks = lost;
        making.resumed = true;
        story.add(`stream resumed; ${lost.unacknowledged.length} stanzas are sent again`);
        return 'done';
      }
      // A peer that forgot the stream may still know how far it came (XEP-0198 §5).
      if (h !== undefined) lost.acknowledge(h);
      story.add(`stream not resumed: ${answer.children[0]?.name ?? answer.name}`);
    }
    stream.sendElement(el('enable', ns.streamManagement, { resume: 'true' }));
    const answer = await managementAnswer(making, 'the answer to stream management');
    const { id, resume } = answer.element.attrs;
    if (answer.name === 'enabled') {
      const resumable = resume === 'true' || resume === '1';
      making.acks = new Acknowledgements(resumable ? (id ?? '') : '', mostUnacknowledged, requestDelay);
      story.add(`stream management${making.acks.id ? ' with resumption' : ''}`);
    } else {
      story.add(`stream management refused: ${answer.children[0]?.name ?? answer.name}`);
    }
    return 'done';
  },
};

/** The next answer of stream management. With bidi, stanzas may come before it: they are put aside. */
async function managementAnswer(making: Making, what: string): Promise<Stanza> {
  for (;;) {
    const answer = await making.talk.next(what);
    if (answer.ns === ns.streamManagement && ['resumed', 'enabled', 'failed'].includes(answer.name)) return answer;
    making.early.push(answer);
  }
}

/** A verdict in words. */
export function describe({ valid, reason, by }: Verdict): string {
  return valid ? `valid${by ? ` (${by})` : ''}` : reason;
}

/** The order in which an outgoing link is made. */
export const steps: readonly Step[] = [startTls, bidi, saslExternal, dialback, streamManagement];

/** The steps of a stream that only asks for a key to be verified. */
export const verifySteps: readonly Step[] = [startTls];

/** Sends our header and reads the peer's and its features, which a peer before XMPP 1.0 does not send. */
export async function exchangeHeaders(making: Making): Promise<Stanza> {
  making.stream.open({
    from: making.local,
    to: making.remote,
    version: '1.0',
    lang: 'en',
    prefixes: { db: ns.dialback },
  });
  const header = await making.talk.header();
  if (header.name !== 'stream' || header.ns !== ns.streams || header.contentNs !== ns.server) {
    throw new LinkError('remote-server-timeout', `${making.remote} did not answer with a server stream`);
  }
  making.streamId = header.attrs.id ?? '';
  making.dialback ||= [...header.prefixes.values()].includes(ns.dialback);
  if (!/^1\.\d+$/.test(header.attrs.version ?? '')) return noFeatures;
  for (;;) {
    const features = await making.talk.next('the stream features');
    if (features.ns !== ns.streams || features.name !== 'features') continue;
    making.dialback ||= features.has('dialback', ns.dialbackFeature);
    return features;
  }
}

const noFeatures = Stanza.from(el('features', ns.streams));

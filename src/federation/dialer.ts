// Makes an outgoing server stream: finds the peer, connects, and goes through the steps.
import type { Config } from '../hub/config.ts';
import { connectRaced } from '../hub/connect.ts';
import { formatEndpoint } from '../hub/listener.ts';
import type { Acknowledgements } from '../xmpp/acknowledgements.ts';
import { StanzaError } from '../xmpp/errors.ts';
import { ns } from '../xmpp/namespaces.ts';
import { Stream } from '../xmpp/stream.ts';
import { Conversation } from './conversation.ts';
import type { FederationEdge } from './edge.ts';
import type { Policy } from './policy.ts';
import { type Target, targets } from './resolve.ts';
import { exchangeHeaders, LinkError, type Making, type Step, secureAsClient } from './steps.ts';
import type { Story } from './story.ts';

export interface Dialing {
  local: string;
  remote: string;
  steps: readonly Step[];
  story: Story;
  /** Stream management that an earlier stream left behind. */
  lost?: Acknowledgements | null;
}

/** How a target has failed of late, and when it is worth another try. */
interface Failure {
  count: number;
  until: number;
}

const firstBackoff = 500;
const lastBackoff = 60_000;
const mostFailures = 2_000;

/** After so many failures in a row, the time to wait in ms: doubled each time, with jitter so that not all come at once. */
export function backoff(failures: number): number {
  return Math.min(lastBackoff, firstBackoff * 2 ** (failures - 1)) * (0.75 + Math.random() / 2);
}

/** Opens streams to other domains. */
export class Dialer {
  readonly #config: () => Config;
  readonly #policy: Policy;
  readonly #edge: FederationEdge;
  readonly #failures = new Map<string, Failure>();

  constructor(config: () => Config, policy: Policy, edge: FederationEdge) {
    this.#config = config;
    this.#policy = policy;
    this.#edge = edge;
  }

  /**
   * Goes through the targets of a domain until one stream has passed all steps. Rejects with a LinkError that says
   * why the last one did not.
   */
  async dial(dialing: Dialing): Promise<Making> {
    let last: LinkError | null = null;
    for (const target of this.#rested(await this.#targets(dialing), dialing.story)) {
      let skipExternal = false;
      for (;;) {
        try {
          const making = await this.#tryTarget(dialing, target, skipExternal);
          this.#failures.delete(targetKey(target));
          return making;
        } catch (error) {
          last = asLinkError(error, dialing.remote);
          dialing.story.add(last.message);
          if (last.permanent) throw last;
          if (skipExternal || !last.withoutExternal || this.#policy.security(dialing.remote) === 'trusted') break;
          skipExternal = true;
          dialing.story.add('trying again without EXTERNAL');
        }
      }
      this.#note(target);
    }
    throw last ?? new LinkError('remote-server-not-found', `${dialing.remote} has no address`, { permanent: true });
  }

  async #targets({ remote, story }: Dialing): Promise<readonly Target[]> {
    try {
      return await targets(this.#edge.resolver, remote, {
        address: this.#policy.address(remote),
        story: text => story.add(text),
      });
    } catch (error) {
      const known = error instanceof StanzaError;
      const condition = known ? error.condition : 'remote-server-timeout';
      const text = known ? error.text : (error as Error).message;
      throw new LinkError(condition, text, { permanent: condition === 'remote-server-not-found' });
    }
  }

  /** The targets that have not just failed, in their order; where all have, the one that may be tried soonest. */
  #rested(found: readonly Target[], story: Story): readonly Target[] {
    const now = Date.now();
    const until = (target: Target) => this.#failures.get(targetKey(target))?.until ?? 0;
    const rested = found.filter(target => until(target) <= now);
    if (rested.length === found.length) return found;
    for (const target of found) {
      if (until(target) <= now) continue;
      story.add(
        `${formatEndpoint(target)} has failed of late, left alone for ${Math.ceil((until(target) - now) / 1000)} s`,
      );
    }
    return rested.length > 0 ? rested : [...found].sort((a, b) => until(a) - until(b)).slice(0, 1);
  }

  #note(target: Target): void {
    const key = targetKey(target);
    const count = (this.#failures.get(key)?.count ?? 0) + 1;
    this.#failures.delete(key);
    this.#failures.set(key, { count, until: Date.now() + backoff(count) });
    if (this.#failures.size > mostFailures) this.#failures.delete(this.#failures.keys().next().value!);
  }

  async #tryTarget(dialing: Dialing, target: Target, skipExternal: boolean): Promise<Making> {
    const { local, remote, story } = dialing;
    const { federation, limits } = this.#config();
    const deadline = Date.now() + federation.connectTimeout;
    const addresses = await target.addresses();
    story.add(
      `connecting to ${formatEndpoint(target)} (${target.tls}): ${addresses.map(a => a.address).join(', ') || 'no address'}`,
    );
    if (addresses.length === 0) throw new LinkError('remote-server-not-found', `${target.host} has no address`);
    const socket = await connectRaced(addresses, target.port, { timeout: federation.connectTimeout });
    story.add(`connected to ${socket.remoteAddress}`);
    const talk = new Conversation(deadline);
    const stream = new Stream(
      socket,
      {
        contentNs: ns.server,
        limits: { stanzaSize: limits.stanzaSize.s2s },
        rate: limits.rate.s2s,
        backlog: 64 * 1024 * 1024,
      },
      talk,
    );
    talk.stream = stream;
    const making: Making = {
      local,
      remote,
      stream,
      talk,
      story,
      security: this.#policy.security(remote),
      context: this.#edge.contextFor(local),
      judge: this.#edge.judge,
      prove: secured => this.#edge.prove(secured, remote, target),
      dialbackSecret: this.#edge.dialbackSecret,
      skipExternal,
      streamId: '',
      dialback: false,
      verdict: null,
      proof: '',
      bidi: false,
      lost: dialing.lost ?? null,
      acks: null,
      resumed: false,
      early: [],
    };
    try {
      if (target.tls === 'direct') await secureAsClient(making, 'xmpp-server');
      await this.#takeSteps(making, dialing.steps);
      return making;
    } catch (error) {
      stream.close();
      throw error;
    }
  }

  async #takeSteps(making: Making, steps: readonly Step[]): Promise<void> {
    let features = await exchangeHeaders(making);
    // A stream restarts at most once for TLS and once for SASL.
    for (let restarts = 0; restarts <= 3; ) {
      let restarted = false;
      for (const step of steps) {
        if (!step.wanted(making, features)) continue;
        const outcome = await step.run(making, features);
        if (outcome === 'done') return;
        if (outcome === 'next') continue;
        features = await exchangeHeaders(making);
        restarts++;
        restarted = true;
        break;
      }
      if (!restarted) return;
    }
    throw new LinkError('remote-server-timeout', `${making.remote} restarts its stream without end`);
  }
}

function targetKey({ host, port, tls }: Target): string {
  return `${host}:${port} ${tls}`;
}

function asLinkError(error: unknown, remote: string): LinkError {
  if (error instanceof LinkError) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new LinkError('remote-server-timeout', `${remote}: ${text}`);
}

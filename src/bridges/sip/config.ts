// The configuration of a SIP bridge: what is its own, beside what its engine reads.
import type { Section } from '../../hub/settings.ts';
import { type EngineConfig, readEngineConfig } from './settings.ts';

export interface SipConfig {
  engine: EngineConfig;
  chat: {
    /** The most bytes of text in one MESSAGE; more is split. */
    size: number;
    /** The most MESSAGEs for one stanza; what would need more is refused. */
    parts: number;
    /** Whether text goes in message/cpim: always, never, or to those who have used it (auto). */
    cpim: 'auto' | 'always' | 'never';
    /** Messages that wait for the SIP side, in all. */
    queue: number;
  };
  presence: {
    /** The lease asked for, in seconds. */
    expires: number;
    /** The first wait before a failed subscription is tried again, in ms; it doubles up to 30 minutes. */
    retry: number;
    /** Subscriptions of XMPP users that stand at once. */
    subscriptions: number;
    /** What ends a SIP user's consent to watch: only the XMPP user (kept), or the end of the SIP subscription as well. */
    consent: 'kept' | 'leased';
    /** Whether SIP users publish their presence here, and who may see it: anybody, those they watch, or nobody here. */
    server: 'off' | 'open' | 'mutual';
  };
  /** Whether SIP users register here. */
  registrar: boolean;
}

/** Throws ConfigError. */
export function readSipConfig(section: Section): SipConfig {
  const engine = readEngineConfig(section);
  const chat = section.section('chat');
  const presence = section.section('presence');
  const config: SipConfig = {
    engine,
    chat: {
      size: chat.size('size', 8 * 1024),
      parts: chat.integer('parts', 8, { min: 1, max: 100 }),
      cpim: chat.oneOf('cpim', ['auto', 'always', 'never'], 'auto'),
      queue: chat.integer('queue', 10_000, { min: 1 }),
    },
    presence: {
      expires: Math.round(presence.duration('expires', 3_600_000) / 1000),
      retry: presence.duration('retry', 5_000),
      subscriptions: presence.integer('subscriptions', 100_000, { min: 0 }),
      consent: presence.oneOf('consent', ['kept', 'leased'], 'kept'),
      server: presence.oneOf('server', ['off', 'open', 'mutual'], 'off'),
    },
    registrar: section.boolean('registrar', false),
  };
  if (config.chat.size < 100) chat.fail('size', 'is less than 100 bytes');
  if (config.presence.expires < 60) presence.fail('expires', 'is less than a minute');
  if (config.presence.retry < 100) presence.fail('retry', 'is less than 100ms');
  for (const one of [chat, presence, section]) one.done();
  return config;
}

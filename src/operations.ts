// What the running hub answers on its admin socket: the commands of the command line.
import { callAccounts } from './cli/account.ts';
import type { RunningHub } from './composition.ts';
import { type AdminCommand, UsageError } from './hub/admin.ts';
import { loadConfig } from './hub/config.ts';
import { formatEndpoint } from './hub/listener.ts';
import { parseRate } from './hub/settings.ts';
import { version } from './hub/version.ts';
import { compositionOf, thirdPresence, userOf } from './modules/index.ts';
import { el } from './xmpp/element.ts';
import { Jid } from './xmpp/jid.ts';
import { ns } from './xmpp/namespaces.ts';
import { Stanza } from './xmpp/stanza.ts';

export function adminCommands(running: RunningHub): ReadonlyMap<string, AdminCommand> {
  const { hub, bridges } = running;
  const commands: Record<string, AdminCommand> = {
    status: () => status(running),
    sessions: () =>
      [...hub.sessions.all()].map(({ jid, presence, priority }) => ({
        jid: jid.toString(),
        presence: presence ? presence.text('show') || 'available' : 'none',
        priority,
      })),
    routes: () =>
      hub.router.routes.flatMap((route, i) =>
        (route.describe?.() ?? []).map(domains => ({ order: i + 1, route: route.name, domains })),
      ),
    modules: () =>
      hub.modules.map(({ name, implements: specs }) => ({
        module: name,
        on: onFor(running, name),
        implements: specs.join(', '),
      })),
    reload: () => running.reload(loadConfig(running.config.file || null)),
    federation: args => federation(running, args),
    bridge: args => {
      const [verb, name] = args;
      if (verb === 'list') return bridges.list();
      if (verb === 'show' && name) return bridges.find(name).show();
      throw new UsageError('bridge takes: list | show NAME');
    },
    'bridge command': ([name, verb, ...args]) => {
      const bridge = bridges.find(name);
      const command = verb === undefined ? undefined : bridge.commands?.[verb];
      if (command) return command.run(args);
      const known = Object.values(bridge.commands ?? {}).map(({ help }) => `  ${name} ${help}`);
      throw new UsageError(known.length > 0 ? `${name} takes:\n${known.join('\n')}` : `${name} has no commands`);
    },
    presence: args => presence(running, args),
    'check domain': ([domain]) => running.links.probe(localDomain(running), domain),
  };
  for (const verb of ['add', 'passwd', 'remove', 'list', 'export', 'import']) {
    commands[`account ${verb}`] = args => callAccounts(running.accounts, verb, args);
  }
  return new Map(Object.entries(commands));
}

/** The domains that a module is on for, in one word where it is all or none of them. */
function onFor({ hub, config }: RunningHub, module: string): string {
  const domains = [...config.domains.keys()];
  const on = domains.filter(domain => hub.enabled(module, domain));
  return on.length === domains.length ? 'everywhere' : on.length === 0 ? 'nowhere' : on.join(' ');
}

function localDomain({ config }: RunningHub): string {
  return config.domains.keys().next().value ?? '';
}

function status({
  hub,
  links,
  components,
  certificates,
  started,
  listening,
  config,
  bridges,
  attachment,
}: RunningHub): unknown {
  const outbound = links.outbound;
  return {
    version: version,
    up: `${Math.floor((Date.now() - started) / 1000)} s`,
    memory: `${Math.round(process.memoryUsage.rss() / 1024 / 1024)} MiB`,
    configuration: config.file || '(defaults)',
    domains: [...config.domains.keys()],
    listening: Object.fromEntries(
      Object.entries(listening).map(([name, at]) => [name, at.map(formatEndpoint).join(' ')]),
    ),
    sessions: hub.sessions.count,
    'links out': outbound.filter(({ state }) => state === 'open').length,
    'links in': links.inbound.filter(({ proved }) => proved.size > 0).length,
    'links that fail': outbound.filter(({ state, lastError }) => state !== 'open' && lastError !== '').length,
    'stanzas queued for links': outbound.reduce((sum, { queued }) => sum + queued, 0),
    components: components.connected,
    bridges: bridges.list().map(({ name }) => name),
    ...(attachment ? { attached: attachment.list() } : {}),
    certificates: certificates.expiries.map(({ domain, daysLeft, selfSigned }) => ({
      domain,
      'days left': daysLeft,
      'made here': selfSigned,
    })),
  };
}

/** `USER`, `USER set SOURCE SHOW [STATUS [SECONDS]]` or `USER clear SOURCE`. */
function presence({ hub }: RunningHub, args: readonly string[]): unknown {
  const [user, verb, source, show, status = '', seconds = '3600', ...more] = args;
  const known = verb === undefined || (verb === 'set' && show) || (verb === 'clear' && source && args.length === 3);
  if (!user || !known || more.length > 0)
    throw new UsageError('presence takes: USER [set SOURCE SHOW [STATUS] | clear SOURCE]');
  const jid = userOf(user);
  if (!hub.hosts(jid.domain)) throw new Error(`${jid.domain} is not served here`);
  const composition = compositionOf(hub);
  if (verb === undefined) return composition.describe(jid);
  if (!/^[a-z0-9][a-z0-9._-]{0,39}$/.test(source))
    throw new UsageError('a source is named by up to 40 of a-z, 0-9, . _ -');
  const lifetime = Number(seconds);
  if (!(lifetime > 0 && lifetime <= 86_400 * 7)) throw new UsageError('a statement counts for up to seven days');
  composition.setThird(jid, source, verb === 'set' ? thirdPresence(jid, show, status) : null, lifetime * 1000);
  return composition.describe(jid);
}

async function federation(running: RunningHub, args: readonly string[]): Promise<unknown> {
  const { links, hub } = running;
  const [verb, subject] = args;
  if (verb === 'list' && args.length === 1) return links.list();
  const domain = subject?.startsWith('*.') ? subject.toLowerCase() : Jid.tryParse(subject ?? '')?.domain;
  if (!domain || args.length !== (verb === 'throttle' ? 3 : 2)) {
    throw new UsageError(
      'federation takes: list | show DOMAIN | allow DOMAIN | deny DOMAIN | reset DOMAIN | close DOMAIN | ping DOMAIN | throttle DOMAIN RATE|off',
    );
  }
  switch (verb) {
    case 'show':
      return links.show(domain);
    case 'allow':
    case 'deny':
      await links.setAllowed(domain, verb === 'allow');
      return `${domain} is ${verb === 'allow' ? 'allowed' : 'denied'} from now on, whatever the file says`;
    case 'reset':
      return (await links.policy.clear(domain))
        ? `the file counts for ${domain} again`
        : `nothing was changed for ${domain}`;
    case 'throttle': {
      const rate = args[2] === 'off' ? null : parseRate(args[2]);
      if (rate === null && args[2] !== 'off') throw new UsageError(`${args[2]} is not a rate such as 8KiB/s, nor off`);
      await links.throttle(domain, rate);
      return rate === null ? `${domain} is no longer throttled` : `${domain} is read at ${args[2]} from now on`;
    }
    case 'close':
      return `${links.close(domain)} links closed`;
    case 'ping': {
      const began = performance.now();
      const request = Stanza.of(
        'iq',
        { from: Jid.of('', localDomain(running), ''), to: Jid.of('', domain, ''), type: 'get' },
        el('ping', ns.ping),
      );
      const answer = await hub.ask(request, hub.config.federation.queue.wait + 5_000);
      const ms = Math.round(performance.now() - began);
      const error = answer.child('error', ns.client);
      const condition = error?.all().find(child => child.ns === ns.stanzaErrors && child.name !== 'text')?.name ?? '';
      const text = error?.childText('text', ns.stanzaErrors) || condition;
      // Any other error is an answer of the domain's own: the link is there.
      if (/^(remote-server-|not-allowed|resource-constraint)/.test(condition)) throw new Error(`${domain}: ${text}`);
      return { domain, answer: answer.isError ? `error: ${text}` : 'pong', ms };
    }
    default:
      throw new UsageError(`federation knows no ${verb}`);
  }
}

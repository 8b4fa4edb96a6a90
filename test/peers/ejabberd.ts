// A real ejabberd on a loopback address of its own.
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Peer, startProcess } from './process.ts';
import type { PeerOptions } from './prosody.ts';

/** Starts ejabberd on the standard ports of its address; clients may log in in the clear and register. */
export async function startEjabberd(options: PeerOptions): Promise<Peer> {
  const { address, domain, mode, dns, authority, certificate, more = '', level = 'debug' } = options;
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-ejabberd-'));
  const log = join(directory, 'ejabberd.log');
  mkdirSync(join(directory, 'mnesia'));
  const file = (name: string, text: string): string => {
    writeFileSync(join(directory, name), text, { mode: 0o600 });
    return join(directory, name);
  };
  const ca = file('ca.crt', authority);
  const pem = file('domain.pem', certificate.certificate + certificate.key);
  const starttls = { plaintext: 'false', tls: 'required', external: 'required' }[mode];
  const config = file(
    'ejabberd.yml',
    `hosts: ${JSON.stringify([domain, ...(options.domains ?? [])])}
loglevel: ${level}
registration_timeout: infinity
certfiles: ["${pem}"]
ca_file: "${ca}"
auth_method: internal
s2s_use_starttls: ${starttls}
s2s_cafile: "${ca}"
s2s_max_retry_delay: 1
listen:
  - { port: 5222, ip: "${address}", module: ejabberd_c2s, starttls: ${mode !== 'plaintext'}, max_stanza_size: infinity }
  - { port: 5269, ip: "${address}", module: ejabberd_s2s_in }
${options.listen ?? ''}acl: { local: { user_regexp: "" } }
access_rules: { register: { allow: all } }
modules:
  mod_disco: {}
  mod_ping: {}
  mod_roster: {}
  mod_version: {}
  mod_register: { ip_access: all, access: register, registration_watchers: [] }
${mode === 'external' ? '' : '  mod_s2s_dialback: {}\n'}${more}`,
  );
  const nameServer = `{nameserver, {${dns.host.replaceAll('.', ',')}}, ${dns.port}}.`;
  // Erlang asks our name server for SRV, but the C library for addresses, which knows no other port than 53: it gets
  // a hosts file in a mount namespace of its own.
  const inetrc = file('inetrc', `{resolv_conf, "/dev/null"}.\n${nameServer}\n`);
  const hosts = file('hosts', `127.0.0.1 localhost\n${options.hosts ?? ''}\n`);
  const erlang = `erl -noinput +sbwt none -mnesia dir '"${join(directory, 'mnesia')}"' -s ejabberd`;
  const running = await startProcess(
    {
      command: 'unshare',
      args: ['-m', 'sh', '-c', `mount --bind ${hosts} /etc/hosts && exec ${erlang}`],
      cwd: directory,
      env: {
        ERL_LIBS: '/usr/lib/x86_64-linux-gnu',
        ERL_INETRC: inetrc,
        EJABBERD_CONFIG_PATH: config,
        EJABBERD_LOG_PATH: log,
        HOME: directory,
      },
    },
    { host: address, port: 5269, others: [5222] },
  );
  return {
    address,
    domain,
    pid: running.pid,
    log: () => `${running.log()}\n${readFileSync(log, 'utf8').slice(-200_000)}`,
    async stop() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

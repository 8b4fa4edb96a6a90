// A real Kamailio on loopback: registrar, presence server and relay for one SIP domain.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { freePort } from '../support/sip.ts';
import { startProcess } from './process.ts';

export interface Kamailio {
  readonly domain: string;
  readonly address: string;
  readonly port: number;
  /** The leader of its process group. */
  readonly pid: number;
  log(): string;
  stop(): Promise<void>;
}

export interface KamailioOptions {
  domain: string;
  /** Where requests for other domains go: the hub. */
  hub: { host: string; port: number; protocol: 'udp' | 'tcp' };
  port?: number;
}

const schemas = '/usr/share/kamailio/db_sqlite';

/** Starts Kamailio for a domain; it keeps nothing over a restart. */
export async function startKamailio({ domain, hub, port: wanted }: KamailioOptions): Promise<Kamailio> {
  const directory = mkdtempSync(join(tmpdir(), 'isthmus-kamailio-'));
  const address = '127.0.0.1';
  const port = wanted ?? (await freePort());
  const database = join(directory, 'kamailio.db');
  const db = new DatabaseSync(database);
  for (const schema of ['standard', 'presence']) db.exec(readFileSync(join(schemas, `${schema}-create.sql`), 'utf8'));
  db.close();
  const file = join(directory, 'kamailio.cfg');
  writeFileSync(file, configuration({ domain, address, port, database, hub }));
  const args = ['-f', file, '-DD', '-E', '-m', '64', '-M', '8', '-Y', directory, '-P', join(directory, 'pid')];
  const running = await startProcess({ command: 'kamailio', args, cwd: directory }, { host: address, port });
  return {
    domain,
    address,
    port,
    pid: running.pid,
    log: running.log,
    async stop() {
      await running.stop();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

interface Parts {
  domain: string;
  address: string;
  port: number;
  database: string;
  hub: KamailioOptions['hub'];
}

function configuration({ domain, address, port, database, hub }: Parts): string {
  const modules = ['db_sqlite', 'tm', 'sl', 'rr', 'pv', 'maxfwd', 'usrloc', 'registrar', 'siputils', 'textops', 'xlog'];
  return `#!KAMAILIO
debug=2
log_stderror=yes
children=2
tcp_children=2
auto_aliases=no
alias="${domain}"
listen=udp:${address}:${port}
listen=tcp:${address}:${port}
tcp_connection_lifetime=3605
${[...modules, 'presence', 'presence_xml'].map(name => `loadmodule "${name}.so"`).join('\n')}
modparam("usrloc", "db_mode", 0)
modparam("presence", "db_url", "sqlite://${database}")
modparam("presence", "server_address", "sip:${address}:${port}")
modparam("presence", "subs_db_mode", 0)
modparam("presence", "min_expires", 1)
modparam("presence_xml", "db_url", "sqlite://${database}")
modparam("presence_xml", "force_active", 1)
request_route {
  if (!mf_process_maxfwd_header("10")) { sl_send_reply("483", "Too Many Hops"); exit; }
  if (has_totag()) {
    if (loose_route()) {
      if ($rd == "${domain}" && $rU != $null) { lookup("location"); }
      t_relay();
      exit;
    }
    if (is_method("SUBSCRIBE") && uri == myself) { handle_subscribe(); exit; }
    if (is_method("ACK")) exit;
    sl_send_reply("404", "Not Here");
    exit;
  }
  if (is_method("SUBSCRIBE|INVITE")) record_route();
  if ($rd != "${domain}" && !(uri == myself)) {
    $du = "sip:${hub.host}:${hub.port};transport=${hub.protocol}";
    if (!t_relay()) sl_reply_error();
    exit;
  }
  if (is_method("REGISTER")) { if (!save("location")) sl_reply_error(); exit; }
  if (is_method("PUBLISH")) {
    if (!t_newtran()) { sl_reply_error(); exit; }
    handle_publish();
    t_release();
    exit;
  }
  if (is_method("SUBSCRIBE")) {
    if (!t_newtran()) { sl_reply_error(); exit; }
    handle_subscribe();
    t_release();
    exit;
  }
  if ($rU == $null) { sl_send_reply("484", "Address Incomplete"); exit; }
  if (!lookup("location")) { sl_send_reply("404", "Not Found"); exit; }
  if (!t_relay()) sl_reply_error();
}
`;
}

// A real RabbitMQ with AMQP 1.0 and STOMP, a queue bound to the topic, and a producer that speaks AMQP 1.0.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import rhea from 'rhea';
import { startProcess } from '../process.ts';

const epmdPort = 4379;
const nodePort = 25_679;

export interface RabbitOptions {
  address: string;
  user: string;
  password: string;
  topic: string;
  /** The durable queue that is bound to the topic. */
  queue: string;
}

export class RabbitMq {
  readonly directory = mkdtempSync(join(tmpdir(), 'isthmus-rabbitmq-'));
  readonly options: RabbitOptions;
  #running: Awaited<ReturnType<typeof startProcess>> | null = null;

  constructor(options: RabbitOptions) {
    this.options = options;
    const { address, user, password, topic, queue } = options;
    const salt = Buffer.from('salt');
    const hash = createHash('sha256')
      .update(Buffer.concat([salt, Buffer.from(password)]))
      .digest();
    const definitions = {
      users: [
        {
          name: user,
          password_hash: Buffer.concat([salt, hash]).toString('base64'),
          hashing_algorithm: 'rabbit_password_hashing_sha256',
          tags: '',
        },
      ],
      vhosts: [{ name: '/' }],
      permissions: [{ user, vhost: '/', configure: '.*', write: '.*', read: '.*' }],
      queues: [{ name: queue, vhost: '/', durable: true, auto_delete: false, arguments: {} }],
      exchanges: [],
      bindings: [
        {
          source: 'amq.topic',
          vhost: '/',
          destination: queue,
          destination_type: 'queue',
          routing_key: topic,
          arguments: {},
        },
      ],
    };
    const file = (name: string, text: string) => writeFileSync(join(this.directory, name), text);
    file('definitions.json', JSON.stringify(definitions));
    file(
      'rabbitmq.conf',
      `listeners.tcp.1 = ${address}:5672\nstomp.listeners.tcp.1 = ${address}:61613\nloopback_users = none\nload_definitions = ${join(this.directory, 'definitions.json')}\n`,
    );
    file('plugins', '[rabbitmq_amqp1_0,rabbitmq_stomp].\n');
    mkdirSync(join(this.directory, 'data'));
  }

  get #environment(): NodeJS.ProcessEnv {
    const { directory } = this;
    return {
      HOME: directory,
      ERL_EPMD_PORT: String(epmdPort),
      RABBITMQ_NODENAME: 'calendar@localhost',
      RABBITMQ_DIST_PORT: String(nodePort),
      RABBITMQ_CONFIG_FILE: join(directory, 'rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: join(directory, 'none'),
      RABBITMQ_MNESIA_BASE: join(directory, 'data'),
      RABBITMQ_LOG_BASE: directory,
      RABBITMQ_LOGS: '-',
      RABBITMQ_ENABLED_PLUGINS_FILE: join(directory, 'plugins'),
    };
  }

  async start(): Promise<void> {
    execFileSync('epmd', ['-port', String(epmdPort), '-daemon']);
    const [server] = execFileSync('sh', ['-c', 'ls -d /usr/lib/rabbitmq/lib/*/sbin/rabbitmq-server'])
      .toString()
      .split('\n');
    this.#running = await startProcess(
      { command: server, args: [], env: this.#environment, cwd: this.directory },
      { host: this.options.address, port: 5672 },
    );
  }

  /** Stops its clock, or lets it go on: to those who are connected it is silent. */
  freeze(frozen: boolean): void {
    if (this.#running) process.kill(-this.#running.pid, frozen ? 'SIGSTOP' : 'SIGCONT');
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    if (this.#running) process.kill(-this.#running.pid, 'SIGKILL');
    await this.#running?.stop();
    this.#running = null;
  }

  async close(): Promise<void> {
    await this.#running?.stop();
    try {
      execFileSync('epmd', ['-port', String(epmdPort), '-kill'], { stdio: 'ignore' });
    } catch {
      // Another node may still be known to it for a moment.
    }
    rmSync(this.directory, { recursive: true, force: true });
  }

  log(): string {
    return this.#running?.log() ?? '';
  }

  /** Publishes to the topic by AMQP 1.0, a text or a section of bytes; resolves when the broker has it. */
  publish(text: string | Buffer, properties: Record<string, string> = {}, id?: string): Promise<void> {
    const { address, user, password, topic } = this.options;
    const body = typeof text === 'string' ? text : rhea.message.data_section(text);
    return new Promise((resolve, reject) => {
      const connection = rhea
        .create_container()
        .connect({ host: address, port: 5672, username: user, password, reconnect: false });
      const sender = connection.open_sender(`/topic/${topic}`);
      sender.once('sendable', () =>
        sender.send({
          message_id: id ?? rhea.generate_uuid(),
          body,
          application_properties: properties,
          durable: true,
        }),
      );
      sender.once('accepted', () => {
        connection.close();
        resolve();
      });
      for (const event of ['rejected', 'sender_error', 'connection_error', 'disconnected'] as const) {
        connection.once(event, context => reject(new Error(`${event}: ${context.error ?? context.sender?.error}`)));
      }
    });
  }
}

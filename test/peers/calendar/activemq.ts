// A real ActiveMQ, and a JMS producer in Java that publishes to it.
import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Issued } from '../../support/authority.ts';
import { startProcess } from '../process.ts';

const share = '/usr/share/activemq';

export interface ActiveMqOptions {
  address: string;
  user: string;
  password: string;
  /** For stomp+ssl on this port of localhost. */
  tlsPort: number;
  certificate: Issued;
}

/** An ActiveMQ that can be killed and started again on its data. */
export class ActiveMq {
  readonly directory = mkdtempSync(join(tmpdir(), 'isthmus-activemq-'));
  readonly options: ActiveMqOptions;
  #running: Awaited<ReturnType<typeof startProcess>> | null = null;

  constructor(options: ActiveMqOptions) {
    this.options = options;
    mkdirSync(join(this.directory, 'data'));
    this.#makeKeyStore(options.certificate);
    writeFileSync(join(this.directory, 'activemq.xml'), this.#configuration());
    writeFileSync(join(this.directory, 'log4j2.properties'), 'rootLogger.level=warn\n');
  }

  async start(): Promise<void> {
    const { address } = this.options;
    this.#running = await startProcess(
      {
        command: 'java',
        args: [
          '-Xmx512M',
          `-Dactivemq.home=${share}`,
          `-Dactivemq.base=${this.directory}`,
          `-Dactivemq.conf=${this.directory}`,
          `-Dactivemq.data=${join(this.directory, 'data')}`,
          '-jar',
          `${share}/bin/activemq.jar`,
          'start',
          `xbean:file:${join(this.directory, 'activemq.xml')}`,
        ],
        cwd: this.directory,
      },
      { host: address, port: 61613 },
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
    rmSync(this.directory, { recursive: true, force: true });
  }

  log(): string {
    return this.#running?.log() ?? '';
  }

  #makeKeyStore({ certificate, key }: Issued): void {
    const path = (name: string) => join(this.directory, name);
    writeFileSync(path('broker.pem'), `${certificate}\n${key}`, { mode: 0o600 });
    execFileSync(
      'openssl',
      ['pkcs12', '-export', '-in', path('broker.pem'), '-out', path('broker.p12'), '-passout', 'pass:broker'],
      {
        stdio: 'ignore',
      },
    );
  }

  #configuration(): string {
    const { address, user, password, tlsPort } = this.options;
    const connector = (name: string, scheme: string, port: number) =>
      `<transportConnector name="${name}" uri="${scheme}://${address}:${port}"/>`;
    return `<beans xmlns="http://www.springframework.org/schema/beans" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
  xsi:schemaLocation="http://www.springframework.org/schema/beans http://www.springframework.org/schema/beans/spring-beans-2.0.xsd
  http://activemq.apache.org/schema/core http://activemq.apache.org/schema/core/activemq-core.xsd">
  <broker xmlns="http://activemq.apache.org/schema/core" useJmx="false" brokerName="calendar" dataDirectory="${this.directory}/data">
    <plugins><simpleAuthenticationPlugin><users>
      <authenticationUser username="${user}" password="${password}" groups="users"/>
    </users></simpleAuthenticationPlugin></plugins>
    <persistenceAdapter><kahaDB directory="${this.directory}/data/kahadb"/></persistenceAdapter>
    <sslContext><sslContext keyStore="file:${join(this.directory, 'broker.p12')}" keyStorePassword="broker"/></sslContext>
    <transportConnectors>
      ${connector('openwire', 'tcp', 61616)}
      ${connector('stomp', 'stomp', 61613)}
      <transportConnector name="stomps" uri="stomp+ssl://127.0.0.1:${tlsPort}"/>
    </transportConnectors>
  </broker>
</beans>
`;
  }
}

/** The JMS producer; it is compiled as it starts. */
export class JmsProducer {
  readonly #child: ChildProcessWithoutNullStreams;
  #output = '';
  #sent = 0;

  constructor(address: string, user: string, password: string, topic: string) {
    const classes = [
      'activemq-client',
      'geronimo-jms_1.1_spec',
      'geronimo-j2ee-management-1.1-spec',
      'hawtbuf',
      'slf4j-api',
    ];
    const path = classes.map(name => `${share}/lib/${name}.jar`).join(':');
    const source = join(import.meta.dirname, 'Publisher.java');
    const url = `failover:(tcp://${address}:61616)`;
    this.#child = spawn('java', ['-Xmx512M', '-cp', path, source, url, user, password, topic]);
    this.#child.stdin.on('error', () => {}); // Its output says why it ended.
    for (const stream of [this.#child.stdout, this.#child.stderr]) stream.on('data', chunk => (this.#output += chunk));
  }

  async ready(): Promise<void> {
    await this.#waits(() => this.#output.includes('ready\n'));
  }

  /** Publishes; resolves when the broker has it. */
  async publish(
    kind: 'text' | 'bytes' | 'map' | 'object' | 'large',
    body: string,
    properties: Record<string, string> = {},
  ): Promise<void> {
    const words = Object.entries(properties).map(([name, value]) => `${name}=${value}`);
    this.#child.stdin.write(`${[kind, ...words, Buffer.from(body).toString('base64')].join('\t')}\n`);
    const wanted = ++this.#sent;
    await this.#waits(() => (this.#output.match(/^sent /gm)?.length ?? 0) >= wanted);
  }

  close(): void {
    this.#child.kill();
  }

  async #waits(condition: () => boolean): Promise<void> {
    const end = Date.now() + 40_000;
    while (!condition()) {
      if (this.#child.exitCode !== null || Date.now() > end)
        throw new Error(`the JMS producer failed:\n${this.#output}`);
      await new Promise(resolve => setTimeout(resolve, 20));
    }
  }
}

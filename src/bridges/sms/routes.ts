// The ways out: the configured SMSCs together, and the SMSC account of each user who has one of their own.
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { connect as connectTls, rootCertificates } from 'node:tls';
import { connectRaced } from '../../hub/connect.ts';
import type { BridgePort } from '../bridge.ts';
import { originator } from './addresses.ts';
import { Dispatcher, type Outcomes } from './dispatch.ts';
import type { Pdu } from './pdu.ts';
import { type SmsQueue, timeOf } from './queue.ts';
import { quietUntil } from './quiet.ts';
import { type SmsConfig, type SmscConfig, serverName } from './settings.ts';
import { type Reconnecting, Smsc } from './smsc.ts';
import type { OwnAccount } from './users.ts';

/** For a connection with its TLS, in ms. */
const connectTimeout = 15_000;

export interface RouteParts {
  config: SmsConfig;
  port: BridgePort;
  queue: SmsQueue;
  outcomes: Outcomes;
  delivered(pdu: Pdu, smsc: Smsc, route: string): Promise<number>;
  throttled(): void;
  reconnecting?: Reconnecting;
}

/** One way out. */
export class SmsRoute {
  /** '' for the configured SMSCs, else the bare JID of the user whose account it is. */
  readonly name: string;
  readonly smscs: readonly Smsc[];
  readonly #dispatcher: Dispatcher;

  constructor(name: string, account: OwnAccount | null, parts: RouteParts) {
    const { config, port, queue } = parts;
    this.name = name;
    const configs = account ? [ownConfig(name, account, config)] : config.smscs;
    this.smscs = configs.map(one => {
      const smsc: Smsc = new Smsc(
        one,
        {
          connect: to => connect(to, port),
          delivered: pdu => parts.delivered(pdu, smsc, name),
          changed: () => this.wake(),
          throttled: () => parts.throttled(),
          log: port.log,
        },
        parts.reconnecting,
      );
      return smsc;
    });
    this.#dispatcher = new Dispatcher(
      queue,
      port.store,
      this.smscs,
      {
        route: name,
        attempts: config.attempts,
        retry: config.retry,
        parts: {
          sender: originator(account?.sender ?? config.sender),
          concatenation: config.concatenation,
          registeredDelivery: config.receipts === 'delivery' ? 1 : 2,
          validity: config.validity,
          takenAt: queued => timeOf(queued.id),
        },
        quietUntil: now => quietUntil(config.quietHours, now),
      },
      parts.outcomes,
      port.log,
    );
  }

  start(): void {
    this.#dispatcher.start();
    for (const smsc of this.smscs) smsc.start();
  }

  wake(): void {
    this.#dispatcher.wake();
  }

  async stop(): Promise<void> {
    await Promise.all(this.smscs.map(smsc => smsc.stop()));
    await this.#dispatcher.stop();
  }
}

/** A user's account: the SMSC is the configured one, who binds is the user. */
function ownConfig(name: string, account: OwnAccount, { smscs }: SmsConfig): SmscConfig {
  const smsc = smscs.find(one => one.name === account.smsc) ?? smscs[0];
  return { ...smsc, name, systemId: account.systemId, password: account.password, prefixes: [] };
}

/** Connects, with TLS where it is configured: then the certificate has to be valid for the name. */
async function connect(smsc: SmscConfig, { resolver, config }: BridgePort): Promise<Socket> {
  const addresses = await resolver.addresses(smsc.address.host);
  const socket = await connectRaced(addresses, smsc.address.port, { timeout: connectTimeout });
  if (!smsc.tls) return socket;
  const ca = [...rootCertificates, ...config.tls.trust.map(file => readFileSync(file, 'utf8'))];
  return new Promise((resolve, reject) => {
    const servername = serverName(smsc);
    const secure = connectTls({ socket, servername, host: smsc.address.host, ca, minVersion: config.tls.minVersion });
    const fail = (error: Error): void => {
      clearTimeout(timer);
      secure.destroy();
      reject(new Error(`TLS: ${error.message}`));
    };
    const timer = setTimeout(() => fail(new Error('no answer')), connectTimeout);
    secure.once('error', fail);
    secure.once('secureConnect', () => {
      clearTimeout(timer);
      secure.off('error', fail);
      resolve(secure);
    });
  });
}

// The kind `sms`: phones as contacts, over SMPP.
import type { BridgeKind } from '../bridge.ts';
import { SmsBridge } from './bridge.ts';
import { readSmsConfig, type SmsConfig } from './settings.ts';

export const sms: BridgeKind<SmsConfig> = {
  kind: 'sms',
  config: readSmsConfig,
  domains: config => [config.domain],
  create: (config, port) => new SmsBridge(config, port),
};

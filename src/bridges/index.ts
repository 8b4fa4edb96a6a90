// The kinds of bridges there are; a new one is named here.
import type { BridgeKind } from './bridge.ts';
import { calendar } from './calendar/kind.ts';
import { sip } from './sip/kind.ts';
import { sms } from './sms/kind.ts';

// Each kind reads its own configuration, which nobody else looks into.
export const kinds: readonly BridgeKind[] = [sip, sms, calendar];

// Names of the directory as localparts of addresses, with the characters that no localpart has escaped (XEP-0106).
import { Jid } from '../../xmpp/jid.ts';

const escapes: readonly [string, string][] = [...' "&\'/:<>@'].map(c => [c, `\\${c.charCodeAt(0).toString(16)}`]);
const escaped = /\\(?=20|22|26|27|2f|3a|3c|3e|40|5c)/gi;

/** The localpart that stands for a name, prepared; null where there is none. */
export function toLocal(name: string): string | null {
  const trimmed = name.trim();
  let text = trimmed.replace(escaped, '\\5c');
  for (const [character, code] of escapes) text = text.replaceAll(character, code);
  return Jid.tryParse(`${text}@localhost`)?.local || null;
}

/** The name that a localpart stands for. */
export function fromLocal(local: string): string {
  return local.replace(/\\(20|22|26|27|2f|3a|3c|3e|40|5c)/gi, (_, code: string) =>
    String.fromCharCode(Number.parseInt(code, 16)),
  );
}

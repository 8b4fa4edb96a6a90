// The URLs by which dynamic groups name their members (RFC 4516).
import { faultOf } from './filter.ts';
import { parseName } from './name.ts';

export interface MemberUrl {
  /** '' where the URL names none. */
  readonly base: string;
  readonly scope: 'base' | 'one' | 'sub';
  readonly filter: string;
}

const longest = 2048;

/** Reads `ldap:///base?attributes?scope?filter`; the host counts for nothing. Null for what is none, or no filter. */
export function parseMemberUrl(text: string): MemberUrl | null {
  const match = /^ldaps?:\/\/[^/?]*(?:\/([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?([^?]*)(?:\?[^?]*)?)?)?)?)?$/i.exec(
    text.trim(),
  );
  if (!match || text.length > longest) return null;
  const base = decode(match[1] ?? '');
  const filter = decode(match[4] || '(objectClass=*)')?.trim();
  const scope = (match[3] || 'base').toLowerCase();
  if (base === null || filter === undefined || parseName(base) === null || faultOf(filter) !== null) return null;
  return scope === 'base' || scope === 'one' || scope === 'sub' ? { base, scope, filter } : null;
}

function decode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

// Search filters (RFC 4515): templates whose `{0}` is filled with what somebody typed, and nothing of that becomes syntax.
import { FilterParser } from 'ldapts';

/**
 * A value as an assertion: what has a meaning in a filter is written as its code (RFC 4515 §3). Other characters
 * stay as they are: ldapts writes them as UTF-8.
 */
export function escapeValue(value: string): string {
  return value.replace(/[\\*()\0]/g, c => `\\${c.charCodeAt(0).toString(16).padStart(2, '0')}`);
}

/** A value in which `*` stands for anything, if there is something besides; everything else is escaped. */
export function escapePattern(value: string): string {
  return value.split(/\*+/).map(escapeValue).join('*');
}

/** A template with `{0}` replaced by a value or, for `any`, by whatever is there. */
export function fill(template: string, value: string): string {
  return template.replaceAll('{0}', () => escapeValue(value));
}

/** A template filled with a pattern, see `escapePattern`. */
export function fillPattern(template: string, pattern: string): string {
  return template.replaceAll('{0}', () => escapePattern(pattern));
}

/** `(attribute=value)`. */
export function equal(attribute: string, value: string): string {
  return `(${attribute}=${escapeValue(value)})`;
}

/** `(attribute=pattern)`, `*` standing for anything. */
export function like(attribute: string, pattern: string): string {
  return `(${attribute}=${escapePattern(pattern)})`;
}

/** All of these; a single one as it is. */
export function all(...filters: readonly string[]): string {
  return filters.length === 1 ? filters[0] : `(&${filters.join('')})`;
}

/** Any of these; a single one as it is. */
export function any(...filters: readonly string[]): string {
  return filters.length === 1 ? filters[0] : `(|${filters.join('')})`;
}

/** What is wrong with a filter, or null. */
export function faultOf(filter: string): string | null {
  if (!/^\s*\(.*\)\s*$/s.test(filter)) return 'a filter stands in parentheses';
  try {
    FilterParser.parseString(filter);
    return null;
  } catch (error) {
    return (error as Error).message;
  }
}

// Plain data as text for people: tables for lists, lines for everything else.

/** A list of flat objects as aligned columns, other data as indented `key: value` lines. */
export function format(data: unknown): string {
  if (Array.isArray(data)) {
    if (data.length === 0) return '(none)';
    return data.every(row => row !== null && typeof row === 'object' && !Array.isArray(row))
      ? table(data as Record<string, unknown>[])
      : data.map(item => String(item)).join('\n');
  }
  if (data !== null && typeof data === 'object') return lines(data as Record<string, unknown>, '').join('\n');
  return String(data ?? 'done');
}

function table(rows: readonly Record<string, unknown>[]): string {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))];
  const cells = rows.map(row => columns.map(column => cell(row[column])));
  const widths = columns.map((column, i) => Math.max(column.length, ...cells.map(row => row[i].length)));
  const line = (row: readonly string[]) =>
    row
      .map((text, i) => text.padEnd(widths[i]))
      .join('  ')
      .trimEnd();
  return [line(columns.map(column => column.toUpperCase())), ...cells.map(line)].join('\n');
}

function cell(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function lines(data: Record<string, unknown>, indent: string): string[] {
  return Object.entries(data).flatMap(([key, value]) => {
    if (value !== null && typeof value === 'object') {
      const inner = Array.isArray(value)
        ? list(value, `${indent}  `)
        : lines(value as Record<string, unknown>, `${indent}  `);
      return inner.length === 0 ? [`${indent}${key}: (none)`] : [`${indent}${key}:`, ...inner];
    }
    return value === '' || value === null || value === undefined ? [] : [`${indent}${key}: ${value}`];
  });
}

function list(values: readonly unknown[], indent: string): string[] {
  if (values.length > 0 && values.every(value => value !== null && typeof value === 'object')) {
    return table(values as Record<string, unknown>[])
      .split('\n')
      .map(line => indent + line);
  }
  return values.map(value => `${indent}${value}`);
}

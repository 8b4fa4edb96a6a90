// The transcript that the demo prints as things happen.
const began = Date.now();
const colour = process.stdout.isTTY;

function paint(code: number, text: string): string {
  return colour ? `\x1b[${code}m${text}\x1b[0m` : text;
}

/** A heading. */
export function scene(title: string): void {
  console.log(`\n${paint(1, title)}`);
}

/** Something that happened: who, and what. */
export function says(who: string, what: string): void {
  const at = `${((Date.now() - began) / 1000).toFixed(1)} s`.padStart(7);
  console.log(`${paint(2, at)}  ${paint(36, who.padEnd(22))} ${what}`);
}

/** Something behind the scenes. */
export function note(what: string): void {
  console.log(`${' '.repeat(9)}${paint(2, what)}`);
}

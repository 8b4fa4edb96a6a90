// Counts a text in a stream of bytes, also where it is cut between two portions.

/** How often `text` has come, counted portion by portion. */
export function counter(text: string): (portion: Buffer) => number {
  const wanted = Buffer.from(text);
  let tail: Buffer = Buffer.alloc(0);
  return portion => {
    let count = 0;
    if (tail.length > 0) {
      const seam = Buffer.concat([tail, portion.subarray(0, wanted.length - 1)]);
      if (seam.indexOf(wanted) >= 0) count++;
    }
    for (let at = portion.indexOf(wanted); at >= 0; at = portion.indexOf(wanted, at + wanted.length)) count++;
    tail = (portion.length >= wanted.length - 1 ? portion : Buffer.concat([tail, portion])).subarray(
      -(wanted.length - 1),
    );
    return count;
  };
}

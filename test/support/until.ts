// Waiting for a condition that nothing announces.

/** Resolves when the condition holds; rejects after the deadline (ms). */
export async function until(condition: () => boolean | Promise<boolean>, deadline = 5_000): Promise<void> {
  const end = Date.now() + deadline;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`waited in vain for ${condition}`);
    await new Promise(resolve => setTimeout(resolve, 10));
  }
}

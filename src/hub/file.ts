// Files of the hub's own that are there as a whole or not at all, whatever ends the process while it writes them.
import { closeSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';

/** Writes a file that only this user may read. Throws, and leaves what was there, where it cannot be written. */
export function replaceFile(path: string, text: string): void {
  const beside = `${path}.new`;
  try {
    const descriptor = openSync(beside, 'w', 0o600);
    try {
      writeFileSync(descriptor, text);
      fsyncSync(descriptor);
    } finally {
      closeSync(descriptor);
    }
    renameSync(beside, path);
  } catch (error) {
    rmSync(beside, { force: true });
    const { code } = error as NodeJS.ErrnoException;
    const why = code === 'ENOSPC' ? 'the disk is full' : code === 'EROFS' ? 'its file system is read-only' : code;
    throw new Error(`${path} cannot be written: ${why}`);
  }
}

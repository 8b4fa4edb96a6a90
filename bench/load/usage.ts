// What a process group has used of processor and memory, as the kernel counts it.
import { readdirSync, readFileSync } from 'node:fs';

/** The ticks of the kernel's clock in a second; 100 on every Linux that Node runs on. */
const ticks = 100;

interface Used {
  /** Processor time since each process began, in µs. */
  cpu: number;
  /** Resident memory in bytes. */
  memory: number;
}

/** The processor time and memory of all processes of a group, named by its leader's process id. */
export function usageOf(group: number): Used {
  const used: Used = { cpu: 0, memory: 0 };
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, 'utf8');
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      if (Number(fields[2]) !== group) continue;
      used.cpu += ((Number(fields[11]) + Number(fields[12])) * 1e6) / ticks;
      used.memory += Number(fields[21]) * 4096;
    } catch {
      // It ended while it was looked at.
    }
  }
  return used;
}

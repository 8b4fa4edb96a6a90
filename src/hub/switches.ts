// Which modules are on for which of the hosted domains (`modules`), kept so that asking costs one look-up.
import type { Config } from './config.ts';
import type { Module } from './module.ts';

/** What one module is switched off for. The set is refilled when the configuration changes, so it can be held. */
export interface Gate {
  readonly module: Module;
  /** Hosted domains and their aliases. */
  readonly off: Set<string>;
}

/** Whether a module is on for a hosted domain: what the domain says, else what the top says, else its default. */
export function isOn(config: Config, module: Module, domain: string): boolean {
  const name = config.aliases.get(domain) ?? domain;
  const own = config.domains.get(name)?.modules.on.get(module.name);
  return own ?? config.modules.on.get(module.name) ?? module.defaultOn ?? true;
}

export class Switches {
  readonly #gates = new Map<string, Gate>();
  #config: Config;

  constructor(config: Config) {
    this.#config = config;
  }

  /** Takes over a configuration. */
  set config(config: Config) {
    this.#config = config;
    for (const gate of this.#gates.values()) this.#fill(gate);
  }

  /** The gate of a module; the same one for the same name. */
  gate(module: Module): Gate {
    let gate = this.#gates.get(module.name);
    if (!gate) {
      gate = { module, off: new Set() };
      this.#gates.set(module.name, gate);
      this.#fill(gate);
    }
    return gate;
  }

  /** Whether the module of that name runs and is on for the domain. */
  enabled(name: string, domain: string): boolean {
    const gate = this.#gates.get(name);
    return gate !== undefined && !gate.off.has(domain);
  }

  /** Whether one end of a stanza lies in a hosted domain for which the gate is open, or neither end in a hosted one. */
  concerns(gate: Gate, from: string | undefined, to: string): boolean {
    const closed = (domain: string | undefined) => domain !== undefined && gate.off.has(domain);
    if (!closed(from) && !closed(to)) return true;
    const open = (domain: string | undefined) => domain !== undefined && this.#hosts(domain) && !gate.off.has(domain);
    return open(from) || open(to);
  }

  #hosts(domain: string): boolean {
    return this.#config.domains.has(domain) || this.#config.aliases.has(domain);
  }

  #fill({ module, off }: Gate): void {
    off.clear();
    for (const domain of [...this.#config.domains.keys(), ...this.#config.aliases.keys()]) {
      if (!isOn(this.#config, module, domain)) off.add(domain);
    }
  }
}

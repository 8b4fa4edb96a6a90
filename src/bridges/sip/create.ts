// Makes the engine that the configuration asks for.
import { createDrachtio } from './drachtio.ts';
import { createEmbedded } from './embedded.ts';
import type { Engine } from './engine.ts';
import type { EngineConfig, EnginePort } from './settings.ts';

/** An engine; it does nothing until it is started. */
export function createEngine(config: EngineConfig, port: EnginePort): Engine {
  return config.engine === 'drachtio' ? createDrachtio(config, port) : createEmbedded(config, port);
}

// placeholder for compile
import type { Engine } from './engine.ts';
import type { EngineConfig, EnginePort } from './settings.ts';
export function createDrachtio(_config: EngineConfig, _port: EnginePort): Engine {
  throw new Error('not yet');
}

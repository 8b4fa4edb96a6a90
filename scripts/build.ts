// `npm run build`: writes dist/, the same sources as JavaScript with declarations, which is what gets published.
import { spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';

rmSync('dist', { recursive: true, force: true });
const { status } = spawnSync('tsc', ['-p', 'tsconfig.build.json'], { stdio: 'inherit' });
process.exit(status ?? 1);

// What a workspace costs as its files become many; each has 1,000 bytes, a hundred to a directory.
import { timed } from '../pairs.js';
import { median } from '../row.js';
import type { Curve } from './curve.js';

const SAMPLES = 3;

export const files: Curve = {
  name: 'files',
  of: 'files in the workspace',
  sizes: [1e2, 1e3, 1e4, 1e5],
  quickSizes: [1e2, 1e3],
  figures: {
    checkpoint: ['checkpoint', 'ms'],
    restore: ['restore into a new session', 'ms'],
    list: ['fs.list of one of the directories', 'ms'],
    remove: ['to delete the session', 'ms'],
  },
  async measure(bench, sizes, found) {
    const service = await bench.service({ DEFAULT_MAX_INODES: '200000' });
    for (const size of sizes) {
      const sessionId = await service.session({ limits: { diskMb: 2048 } });
      const code = `
import os
for n in range(${size}):
    if n % 100 == 0: os.mkdir(f'd{n // 100}')
    open(f'd{n // 100}/f{n}', 'w').write(f'{n:0999}\\n')`;
      await service.run(sessionId, 'run.python', { code });
      const took = { checkpoint: [], restore: [], list: [], remove: [] } as Record<string, number[]>;
      for (let n = 0; n < SAMPLES; n += 1) {
        let checkpointId = '';
        took.checkpoint!.push(
          await timed(async () => {
            const path = `/v1/sessions/${sessionId}/checkpoints`;
            ({ checkpointId } = await service.call<{ checkpointId: string }>('POST', path, {}));
          }),
        );
        let restored = '';
        took.restore!.push(
          await timed(async () => {
            restored = await service.session({ checkpointId, limits: { diskMb: 2048 } });
          }),
        );
        await service.run(restored, 'fs.list', { path: 'd0' });
        took.list!.push(await timed(() => service.run(restored, 'fs.list', { path: 'd0' })));
        took.remove!.push(await timed(() => service.call('DELETE', `/v1/sessions/${restored}?force=true`)));
      }
      found(size, Object.fromEntries(Object.entries(took).map(([name, values]) => [name, median(values)])));
      await service.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    }
  },
};

// What one more session costs when there are many.
import { timed } from '../pairs.js';
import { median } from '../row.js';
import type { Curve } from './curve.js';

const SAMPLES = 30;

export const sessions: Curve = {
  name: 'sessions',
  of: 'sessions that live',
  sizes: [1, 5, 20, 50, 100, 200, 350, 500],
  quickSizes: [1, 10],
  figures: {
    create: ['to create one more', 'ms'],
    run: ['run.python print(1) in one of them', 'ms'],
    list: ['a page of 50 sessions', 'ms'],
    memory: ['memory of the service', 'MiB'],
  },
  async measure(bench, sizes, found) {
    const service = await bench.service({ MAX_SESSIONS: String(Math.max(...sizes) + 1) });
    const live: string[] = [];
    for (const size of sizes) {
      while (live.length < size) live.push(await service.session());
      const create: number[] = [];
      const run: number[] = [];
      const list: number[] = [];
      for (let n = 0; n < SAMPLES; n += 1) {
        let extra = '';
        create.push(
          await timed(async () => {
            extra = await service.session();
          }),
        );
        await service.call('DELETE', `/v1/sessions/${extra}?force=true`);
        const some = live[Math.floor((n * live.length) / SAMPLES)]!;
        // The first may have to start it again.
        await service.run(some, 'run.python', { code: 'print(1)' });
        run.push(await timed(() => service.run(some, 'run.python', { code: 'print(1)' })));
        list.push(await timed(() => service.call('GET', '/v1/sessions?limit=50')));
      }
      found(size, {
        create: median(create),
        run: median(run),
        list: median(list),
        memory: service.residentMemory(),
      });
    }
  },
};

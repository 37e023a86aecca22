// What one more WebSocket reader of a session costs.
import { setTimeout as sleep } from 'node:timers/promises';
import { startFloor } from '../floors/child.js';
import { rateOf } from '../load.js';
import { timed } from '../pairs.js';
import { median } from '../row.js';
import type { Curve } from './curve.js';

const SAMPLES = 20;
const SECONDS = 2;

export const readers: Curve = {
  name: 'readers',
  of: 'readers of one session',
  sizes: [1, 3, 10, 30, 100, 300, 1_000],
  quickSizes: [1, 10],
  figures: {
    last: ['echo, until the last reader has its events', 'ms'],
    deliveries: ['events delivered', 'a second'],
    memory: ['memory of the service', 'MiB'],
  },
  async measure(bench, sizes, found) {
    const counters = await startFloor(bench, 'frame-counters');
    const service = await bench.service();
    const until = async (frames: number) => {
      while ((await counters.ask<{ least: number }>({ count: true })).least < frames) await sleep(1);
    };
    for (const size of sizes) {
      const sessionId = await service.session({ concurrency: 16 });
      const lastSeq = async () =>
        (await service.call<{ lastSeq: number }>('GET', `/v1/sessions/${sessionId}`)).lastSeq;
      await counters.ask({ open: size, port: service.port, path: `/v1/sessions/${sessionId}/events` });
      const last: number[] = [];
      for (let n = 0; n < SAMPLES; n += 1) {
        last.push(
          await timed(async () => {
            const { lastSeq: seq } = await service.run(sessionId, 'echo', { message: 'hello' });
            // And the head.
            await until(seq! + 1);
          }),
        );
      }
      const before = await lastSeq();
      let after = 0;
      const took = await timed(async () => {
        const asking = {
          port: service.port,
          path: `/v1/sessions/${sessionId}/tasks?wait=60`,
          body: { tool: 'echo', arguments: { message: 'hello' } },
        };
        await rateOf(() => asking, 16, SECONDS);
        after = await lastSeq();
        await until(after + 1);
      });
      found(size, {
        last: median(last),
        deliveries: ((after - before) * size) / (took / 1000),
        memory: service.residentMemory(),
      });
      await service.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    }
  },
};

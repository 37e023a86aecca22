// Many readers of one session, and one reader of a long past.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Part } from '../bench.js';
import { type FloorProcess, startFloor } from '../floors/child.js';
import { rateOf } from '../load.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { median, summarize } from '../row.js';

const READERS = 1_000;
const STORED = 100_000;
const ECHO = { tool: 'echo', arguments: { message: 'hello' } };
/** As long as an event of an echo task. */
const MESSAGE = 'x'.repeat(260);

export const readers: Part = {
  name: 'readers',
  async run(bench) {
    const { rounds, seconds } = bench.effort;
    const counters = await startFloor(bench, 'frame-counters');
    const plain = await startFloor(bench, 'fan-out');
    const service = await bench.service();
    const echo = (sessionId: string) => ({
      port: service.port,
      path: `/v1/sessions/${sessionId}/tasks?wait=60`,
      body: ECHO,
    });
    const lastSeq = async (sessionId: string) =>
      (await service.call<{ lastSeq: number }>('GET', `/v1/sessions/${sessionId}`)).lastSeq;

    const fanOut = await inTurns(rounds, {
      floor: async () => {
        await counters.ask({ open: READERS, port: plain.port, path: '/' });
        const messages = Math.ceil(seconds * 100);
        const took = await timed(async () => {
          await plain.ask({ messages, text: MESSAGE });
          await until(counters, messages);
        });
        return (messages * READERS) / (took / 1000);
      },
      product: async () => {
        const sessionId = await service.session({ concurrency: 16 });
        await counters.ask({ open: READERS, port: service.port, path: `/v1/sessions/${sessionId}/events` });
        const before = await lastSeq(sessionId);
        let after = 0;
        const took = await timed(async () => {
          await rateOf(() => echo(sessionId), 16, seconds);
          after = await lastSeq(sessionId);
          // What was there before, what came, and the head.
          await until(counters, after + 1);
        });
        await service.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
        return ((after - before) * READERS) / (took / 1000);
      },
    });

    const sessionId = await service.session({ concurrency: 16 });
    while ((await lastSeq(sessionId)) < STORED) await rateOf(() => echo(sessionId), 16, 1);
    const stored = await lastSeq(sessionId);
    const replays: number[] = [];
    for (let round = 0; round < rounds; round += 1) {
      const took = await timed(async () => {
        await counters.ask({ open: 1, port: service.port, path: `/v1/sessions/${sessionId}/events` });
        await until(counters, stored + 1);
      });
      replays.push(stored / (took / 1000));
    }
    return [
      ratioRow(fanOut, {
        work: `events to ${READERS} readers, deliveries a second`,
        unit: '/s',
        floorIs: 'ws, one send each',
        budget: { is: '≥', value: 3 },
      }),
      {
        work: `replay of ${STORED} stored events over a WebSocket`,
        unit: '/s',
        product: summarize(replays),
        figure: { what: '/s', value: median(replays) },
        budget: { is: '≥', value: 200_000 },
      },
    ];
  },
};

async function until(counters: FloorProcess, frames: number): Promise<void> {
  while ((await counters.ask<{ least: number }>({ count: true })).least < frames) await sleep(5);
}

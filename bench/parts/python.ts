// The time from a client's request to its answer, for the smallest program; and to its first byte at a reader.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Part } from '../bench.js';
import { cleanPython, inBubblewrap, PRINT, runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { summarize } from '../row.js';

export const python: Part = {
  name: 'python',
  async run(bench) {
    const { pairs: count } = bench.effort;
    const bare = [cleanPython(await bench.directory()), ...PRINT];
    const service = await bench.service();
    const sessionId = await service.session();
    const floor = () => timed(() => runProgram(bare));
    const floorIs = 'B: python3 -c "print(1)", spawned';

    const wrapped = await inTurns(count, {
      floor,
      product: () => timed(() => runProgram(inBubblewrap(['/usr/bin/python3', '-I', '-S', ...PRINT]))),
    });
    const waited = await inTurns(count, {
      floor,
      product: () => timed(() => service.run(sessionId, 'run.python', { code: 'print(1)' })),
    });
    const [floorP99, productP99] = [summarize(waited.floor).p99, summarize(waited.product).p99];

    let firstByte = () => {};
    const reader = await service.reader(sessionId, ({ type }) => {
      if (type === 'task.output') firstByte();
    });
    const read = await inTurns(count, {
      floor,
      product: async () => {
        const arrived = new Promise<void>((resolve) => {
          firstByte = resolve;
        });
        const begun = performance.now();
        const taskId = service.submit(sessionId, 'run.python', { code: 'print(1)' });
        await arrived;
        const took = performance.now() - begun;
        await service.ended(await taskId);
        return took;
      },
    });
    reader.close();

    const idleService = await bench.service({ AGENT_IDLE_SECONDS: '1' });
    const idleSession = await idleService.session();
    const cold = await inTurns(
      Math.ceil(count / 10),
      {
        floor: () => timed(() => runProgram(inBubblewrap(['/usr/bin/python3', '-I', '-S', ...PRINT]))),
        product: async () => {
          while (idleService.sandboxed().length > 0) await sleep(50);
          return timed(() => idleService.run(idleSession, 'run.python', { code: 'print(1)' }));
        },
      },
      1,
    );
    return [
      ratioRow(wrapped, { work: 'W: bubblewrap and python3 -c "print(1)"', unit: 'ms', floorIs }),
      ratioRow(waited, {
        work: 'run.python print(1), from POST to reply',
        unit: 'ms',
        floorIs,
        budget: { is: '≤', value: 0.6 },
      }),
      {
        work: 'run.python print(1), p99',
        unit: 'ms',
        floor: { what: 'p99 of B', ...summarize(waited.floor) },
        product: summarize(waited.product),
        figure: { what: '× p99 of the floor', value: productP99 / floorP99 },
        budget: { is: '≤', value: 1 },
      },
      ratioRow(read, {
        work: 'first byte of print(1) at a WebSocket',
        unit: 'ms',
        floorIs,
        budget: { is: '≤', value: 0.4 },
      }),
      ratioRow(cold, {
        work: 'run.python with no warm process',
        unit: 'ms',
        floorIs: 'W',
        budget: { is: '≤', value: 1.4 },
      }),
    ];
  },
};

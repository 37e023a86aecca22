// How many programs a second when several clients ask at once.
import type { Part } from '../bench.js';
import { cleanPython, PRINT, runProgram } from '../floors/programs.js';
import { closedLoop, inTurns, ratioRow } from '../pairs.js';
import { summarize } from '../row.js';

const CLIENTS = 8;

export const clients: Part = {
  name: 'clients',
  async run(bench) {
    const { rounds, seconds } = bench.effort;
    const bare = [cleanPython(await bench.directory()), ...PRINT];
    const service = await bench.service();
    const sessions = await Promise.all(Array.from({ length: CLIENTS }, () => service.session()));
    const delays: number[] = [];
    const pairs = await inTurns(rounds, {
      floor: () => closedLoop(CLIENTS, seconds, () => runProgram(bare)),
      async product() {
        await service.loopDelay();
        const rate = await closedLoop(CLIENTS, seconds, (n) =>
          service.run(sessions[n]!, 'run.python', { code: 'print(1)' }),
        );
        delays.push(await service.loopDelay());
        return rate;
      },
    });
    const delay = summarize(delays);
    return [
      ratioRow(pairs, {
        work: `tasks a second, ${CLIENTS} clients on ${CLIENTS} sessions`,
        unit: '/s',
        floorIs: `B, ${CLIENTS} at a time`,
        budget: { is: '≥', value: 2.5 },
      }),
      {
        work: 'event loop delay, p99 of each round, meanwhile',
        unit: 'ms',
        product: delay,
        figure: { what: 'ms', value: delay.median },
        budget: { is: '≤', value: 15 },
      },
    ];
  },
};

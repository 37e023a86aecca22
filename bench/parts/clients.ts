// How many programs a second when several clients ask at once.
import type { Part } from '../bench.js';
import { cleanPython, PRINT, runProgram } from '../floors/programs.js';
import { closedLoop, inTurns, ratioRow } from '../pairs.js';

const CLIENTS = 8;

export const clients: Part = {
  name: 'clients',
  async run(bench) {
    const { rounds, seconds } = bench.effort;
    const bare = [cleanPython(await bench.directory()), ...PRINT];
    const service = await bench.service();
    const sessions = await Promise.all(Array.from({ length: CLIENTS }, () => service.session()));
    // Counts from one reading to the next.
    await service.call('GET', '/metrics');
    const pairs = await inTurns(rounds, {
      floor: () => closedLoop(CLIENTS, seconds, () => runProgram(bare)),
      product: () =>
        closedLoop(CLIENTS, seconds, (n) => service.run(sessions[n]!, 'run.python', { code: 'print(1)' })),
    });
    const metrics = await service.call<string>('GET', '/metrics');
    const delayMs = 1000 * Number(/^nodejs_eventloop_lag_p99_seconds (\S+)/m.exec(metrics)?.[1]);
    const delay = { median: delayMs, p95: delayMs, p99: delayMs, count: 1 };
    return [
      ratioRow(pairs, {
        work: `tasks a second, ${CLIENTS} clients on ${CLIENTS} sessions`,
        unit: '/s',
        floorIs: `B, ${CLIENTS} at a time`,
        budget: { is: '≥', value: 2.5 },
      }),
      {
        work: 'event loop delay, p99, meanwhile',
        unit: 'ms',
        product: delay,
        figure: { what: 'ms', value: delayMs },
        budget: { is: '≤', value: 15 },
      },
    ];
  },
};

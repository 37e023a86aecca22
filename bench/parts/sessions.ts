// From nothing to a session, and to its first output.
import type { Part } from '../bench.js';
import { inBubblewrap, PRINT, runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { summarize } from '../row.js';

export const sessions: Part = {
  name: 'sessions',
  async run(bench) {
    const count = Math.ceil(bench.effort.pairs / 2);
    const service = await bench.service();
    const end = (sessionId: string) => service.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    const floor = () => timed(() => runProgram(inBubblewrap(['/usr/bin/python3', '-I', '-S', ...PRINT])));
    let sessionId = '';
    const created = await inTurns(count, {
      floor,
      product: async () => {
        const took = await timed(async () => {
          sessionId = await service.session();
        });
        await end(sessionId);
        return took;
      },
    });
    const first = await inTurns(count, {
      floor,
      product: async () => {
        const took = await timed(async () => {
          sessionId = await service.session();
          await service.run(sessionId, 'run.python', { code: 'print(1)' });
        });
        await end(sessionId);
        return took;
      },
    });
    const crowd = await Promise.allSettled(
      Array.from({ length: 100 }, async () => {
        const each = await service.session();
        await service.run(each, 'run.python', { code: 'print(1)' });
        await end(each);
      }),
    );
    const failed = crowd.filter(({ status }) => status === 'rejected').length;
    return [
      ratioRow(created, {
        work: 'create a session (201)',
        unit: 'ms',
        floorIs: 'W',
        budget: { is: '≤', value: 0.5 },
      }),
      ratioRow(first, {
        work: 'create a session, to the end of its first program',
        unit: 'ms',
        floorIs: 'W',
        budget: { is: '≤', value: 1.2 },
      }),
      {
        work: '100 sessions at once: how many fail',
        unit: '',
        product: summarize([failed]),
        figure: { what: 'failed', value: failed },
        budget: { is: '≤', value: 0 },
      },
    ];
  },
};

// From asking for the end of a task until its whole process tree is gone.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Part } from '../bench.js';
import { inBubblewrap } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { median } from '../row.js';

const tree = (children: number) => `
import os, sys, time
for _ in range(${children}):
    if os.fork() == 0: time.sleep(600)
sys.stdout.write('on\\n')
sys.stdout.flush()
time.sleep(600)`;

export const cancel: Part = {
  name: 'cancel',
  async run(bench) {
    const service = await bench.service();
    const sessionId = await service.session({ limits: { maxProcesses: 512 } });
    let on = () => {};
    const reader = await service.reader(sessionId, ({ type }) => {
      if (type === 'task.output') on();
    });
    const cancelled = async (children: number) => {
      const isOn = new Promise<void>((resolve) => {
        on = resolve;
      });
      const taskId = await service.submit(sessionId, 'run.python', { code: tree(children) });
      await isOn;
      return timed(() => service.call('POST', `/v1/tasks/${taskId}/cancel`, {}));
    };
    const compare = (count: number, children: number) =>
      inTurns(count, { floor: () => rawKill(children), product: () => cancelled(children) });
    const one = await compare(Math.ceil(bench.effort.pairs / 2), 0);
    const many = await compare(Math.ceil(bench.effort.pairs / 5), 200);
    reader.close();
    const floorIs = 'SIGKILL of a bubblewrap, to the end of its pipes';
    return [
      {
        ...ratioRow(one, { work: 'cancel: 1 process', unit: 'ms', floorIs }),
        figure: { what: 'ms', value: median(one.product) },
        budget: { is: '≤', value: 10 },
      },
      ratioRow(many, {
        work: 'cancel: 200 children',
        unit: 'ms',
        floorIs,
        budget: { is: '≤', value: 1.5 },
      }),
    ];
  },
};

async function rawKill(children: number): Promise<number> {
  const [command, ...args] = inBubblewrap(['/usr/bin/python3', '-I', '-S', '-c', tree(children)]);
  const child = spawn(command!, args, { stdio: ['ignore', 'pipe', 'ignore'] });
  await once(child.stdout!, 'data');
  const closed = once(child, 'close');
  return timed(async () => {
    child.kill('SIGKILL');
    await closed;
  });
}

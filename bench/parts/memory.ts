// What is held when nothing happens.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Part } from '../bench.js';
import { type Row, summarize, type Unit } from '../row.js';

const SESSIONS = 10;

export const memory: Part = {
  name: 'memory',
  async run(bench) {
    const service = await bench.service({ AGENT_IDLE_SECONDS: '5', SPARE_SANDBOXES: '0' });
    const idle = service.residentMemory();
    const sessions = await Promise.all(Array.from({ length: SESSIONS }, () => service.session()));
    for (const each of sessions) await service.run(each, 'run.python', { code: 'print(1)' });
    const held = service.sandboxed().reduce((sum, pid) => sum + privateMemory(pid), 0);
    const perSession = held / SESSIONS;
    const end = Date.now() + 15_000;
    while (service.sandboxed().length > 0 && Date.now() < end) await sleep(100);
    const left = service.sandboxed().length;
    const row = (work: string, unit: Unit, value: number, budget: number): Row => ({
      work,
      unit,
      product: summarize([value]),
      figure: { what: unit || 'left', value },
      budget: { is: '≤', value: budget },
    });
    return [
      row('memory of the service that has done nothing', 'MiB', idle, 120),
      row('memory of a session that waits, private', 'MiB', perSession, 8),
      row('processes of sessions after the idle time', '', left, 0),
    ];
  },
};

/** MiB that only this process has. */
function privateMemory(pid: number): number {
  try {
    const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return (
      [...text.matchAll(/^Private_\w+:\s+(\d+)/gm)].reduce((sum, [, kib]) => sum + Number(kib), 0) / 1024
    );
  } catch {
    return 0;
  }
}

// From nothing to the first reply, with a long past in the store.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { fillStore } from '../../test/helpers/large-store.js';
import { Bench, type Part } from '../bench.js';
import { startFloor } from '../floors/child.js';
import { inTurns, timed } from '../pairs.js';
import { type Row, type Summary, summarize } from '../row.js';
import { Service } from '../service.js';

/** The compiled file is in build/bench/parts. */
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const EVENTS_OF_EACH = 1_000;

export const start: Part = {
  name: 'start',
  async run(bench) {
    const count = Math.ceil(bench.effort.pairs / 20);
    const events = bench.effort.pairs * 5_000;
    const directory = await bench.directory();
    // Makes the tables.
    await (await Service.start(directory, {})).stop();
    fillStore(directory, {
      sessions: events / EVENTS_OF_EACH,
      tasksOfEach: 10,
      eventsOfEach: EVENTS_OF_EACH,
    });
    // What was written is of 1970.
    const settings = { RETENTION_SECONDS: '4000000000', EVENT_RETENTION_SECONDS: '4000000000' };

    const served = await inTurns(
      count,
      { floor: timeOfPlainFastify, product: () => timeOfService(directory, settings) },
      1,
    );
    const typed: number[] = [];
    for (let n = 0; n < count; n += 1) typed.push(await timeOfNpmStart(directory, settings));

    const stored = `${events.toLocaleString('en-US')} events stored`;
    const row = (work: string, product: Summary, budgetMs: number): Row => ({
      work,
      unit: 'ms',
      product,
      figure: { what: 'ms', value: product.median },
      budget: { is: '≤', value: budgetMs },
    });
    return [
      {
        ...row(`start of the service to its first reply, ${stored}`, summarize(served.product), 1_000),
        floor: { what: 'a Fastify with one route', ...summarize(served.floor) },
        note: `${served.ratio.toFixed(1)} × floor`,
      },
      row('`npm start` on an unchanged checkout, to "listening"', summarize(typed), 3_000),
    ];
  },
};

async function timeOfPlainFastify(): Promise<number> {
  const own = new Bench({ pairs: 0, rounds: 0, seconds: 0 });
  try {
    return await timed(async () => {
      const { port } = await startFloor(own, 'fastify-echo');
      await (await fetch(`http://127.0.0.1:${port}/`)).text();
    });
  } finally {
    await own.close();
  }
}

async function timeOfService(directory: string, settings: Record<string, string>): Promise<number> {
  let service: Service | undefined;
  try {
    return await timed(async () => {
      service = await Service.start(directory, settings);
      await service.call('GET', '/healthz');
    });
  } finally {
    await service?.stop();
  }
}

async function timeOfNpmStart(directory: string, settings: Record<string, string>): Promise<number> {
  const begun = performance.now();
  const child = spawn('npm', ['start'], {
    cwd: ROOT,
    env: { ...process.env, ...settings, DATA_DIR: directory, PORT: '0', LOG_FORMAT: 'json' },
    stdio: ['ignore', 'pipe', 'ignore'],
    // So that a signal reaches npm and what it runs.
    detached: true,
  });
  const ended = once(child, 'exit');
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      if (line.includes('"listening"')) return performance.now() - begun;
    }
    throw new Error('npm start ended by itself');
  } finally {
    child.stdout.resume();
    process.kill(-child.pid!, 'SIGTERM');
    await ended;
  }
}

// `npm run bench:soak [-- --minutes 30]`: mixed work at 70 % of what the service can do. Does its memory stay flat, and its
// latency steady? Writes bench/soak.svg and soak.json; a run of less than ten minutes leaves nothing behind.
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Bench } from '../bench.js';
import { surroundings } from '../noise.js';
import { coursePicture } from '../plot.js';
import { median, summarize } from '../row.js';
import type { Service } from '../service.js';
import { type Done, work } from './agent.js';

const SHARE = 0.7;
const CAPACITY_AGENTS = 8;
/** More than it takes, so that one is free when a task is due. */
const AGENTS = 16;

const { values } = parseArgs({ options: { minutes: { type: 'string', default: '30' } } });
const minutes = Number(values.minutes);
const interval = minutes < 10 ? 10_000 : 60_000;
const bench = new Bench({ pairs: 0, rounds: 0, seconds: 0 });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void bench.close().finally(() => process.exit(1)));
}
// The compiled file is in build/bench/soak.
const file = (name: string) => fileURLToPath(new URL(`../../../bench/${name}`, import.meta.url));

try {
  const around = await surroundings();
  const dataDir = await bench.directory();
  // What is over is forgotten soon, so that the store has its size early in the run.
  const service = await bench.service({ DATA_DIR: dataDir, RETENTION_SECONDS: '60', MAX_SESSIONS: '40' });
  await atFullSpeed(service, interval / 3);
  const capacity = await atFullSpeed(service, interval);
  const rate = SHARE * capacity;
  console.log(
    `${capacity.toFixed(0)} tasks a second at full speed; now ${rate.toFixed(0)} for ${minutes} min`,
  );

  await service.loopDelay();
  const course: Moment[] = [];
  let done: Done[] = [];
  const begun = performance.now();
  const end = begun + minutes * 60_000;
  let turns = 0;
  const turn = async () => {
    const due = begun + (turns * 1000) / rate;
    turns += 1;
    if (due >= end) return null;
    const wait = due - performance.now();
    if (wait > 0) await sleep(wait);
    return due;
  };
  const agents = Promise.all(
    Array.from({ length: AGENTS }, () => work(service, turn, (each) => done.push(each))),
  );
  const isOver = agents.then(() => true);
  for (let n = 1; n * interval <= minutes * 60_000; n += 1) {
    const rest = begun + n * interval - performance.now();
    if (await Promise.race([isOver, sleep(rest, false)])) break;
    const moment = await look(service, dataDir, (n * interval) / 60_000, done);
    done = [];
    course.push(moment);
    console.log(JSON.stringify(moment));
  }
  await agents;

  const figures = {
    memory: ['memory of the service', 'MiB'],
    p50: ['run.python print(1), median', 'ms'],
    p99: ['the same, p99', 'ms'],
    loop: ['event loop delay, p99', 'ms'],
    store: ['store', 'MiB'],
  } as const;
  const third = Math.floor(course.length / 3);
  const [middle, last] = [course.slice(third, 2 * third), course.slice(-third)];
  for (const [name, [title, unit]] of Object.entries(figures)) {
    const of = (part: Moment[]) => median(part.map((each) => each[name as keyof typeof figures])).toFixed(1);
    console.log(`${title}: ${of(middle)} ${unit} in the middle third, ${of(last)} in the last`);
  }
  if (minutes >= 10) {
    const lines = Object.entries(figures).map(([name, [title, unit]]) => ({
      title,
      unit,
      points: course.map((each) => ({ x: each.minute, y: each[name as keyof typeof figures] })),
    }));
    writeFileSync(file('soak.svg'), coursePicture('minutes', lines));
    const said = { at: new Date().toISOString(), surroundings: around, capacity, rate, course };
    writeFileSync(file('soak.json'), `${JSON.stringify(said, null, 1)}\n`);
  }
} finally {
  await bench.close();
}

interface Moment {
  readonly minute: number;
  readonly tasks: number;
  readonly p50: number;
  readonly p99: number;
  /** Of the main thread since the last look, ms. */
  readonly loop: number;
  readonly memory: number;
  readonly files: number;
  readonly store: number;
}

/** Tasks a second when every agent asks as soon as it was answered. */
async function atFullSpeed(service: Service, ms: number): Promise<number> {
  let count = 0;
  const begun = performance.now();
  const turn = async () => (performance.now() - begun < ms ? performance.now() : null);
  const counted = () => {
    count += 1;
  };
  await Promise.all(Array.from({ length: CAPACITY_AGENTS }, () => work(service, turn, counted)));
  return count / ((performance.now() - begun) / 1000);
}

async function look(
  service: Service,
  dataDir: string,
  minute: number,
  done: readonly Done[],
): Promise<Moment> {
  const prints = summarize(done.filter(({ kind }) => kind === 'print').map(({ ms }) => ms));
  const stored = ['store.db', 'store.db-wal'].map((name) => statSync(join(dataDir, name)).size);
  return {
    minute,
    tasks: done.length,
    p50: prints.median,
    p99: prints.p99,
    loop: await service.loopDelay(),
    memory: service.residentMemory(),
    files: readdirSync(`/proc/${service.pid}/fd`).length,
    store: stored.reduce((sum, size) => sum + size, 0) / 1024 ** 2,
  };
}

// `npm run bench:profile`: where the time of one task goes: the processor time of each thread and process per
// task, that of the main thread by part of the service, and a flame graph of it.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Bench } from '../bench.js';
import { median } from '../row.js';
import type { Service } from '../service.js';
import { byPart, type CpuProfile, callTree, flameGraph } from './cpu-profile.js';
import { openInspector } from './inspector.js';
import { type Marks, stepRows } from './steps.js';

const WORK = {
  'run.python': { code: 'print(1)' },
  echo: { message: 'hello' },
} as const;
const WARM_UPS = 300;
const TASKS = 1_000;
const SAMPLE_US = 100;
const TICKS_PER_SECOND = 100;

const bench = new Bench({ pairs: 0, rounds: 0, seconds: 0 });
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void bench.close().finally(() => process.exit(1)));
}
// The compiled file is in build/bench/profile.
const file = (name: string) => fileURLToPath(new URL(`../../../bench/${name}`, import.meta.url));
try {
  const said: string[] = [];
  for (const [tool, args] of Object.entries(WORK)) {
    const service = await bench.service({}, ['--inspect=127.0.0.1:0']);
    const sessionId = await service.session();
    for (let n = 0; n < WARM_UPS; n += 1) await service.run(sessionId, tool, args);

    const before = processorTimes(service);
    const alone: number[] = [];
    for (let n = 0; n < TASKS; n += 1) {
      const begun = performance.now();
      await service.run(sessionId, tool, args);
      alone.push((performance.now() - begun) * 1000);
    }
    const threads = since(before, service).filter(([, us]) => us / TASKS >= 5);

    const inspector = await openInspector(service.inspector());
    await inspector.ask('Profiler.enable');
    await inspector.ask('Profiler.setSamplingInterval', { interval: SAMPLE_US });
    await inspector.ask('Profiler.start');
    for (let n = 0; n < TASKS; n += 1) await service.run(sessionId, tool, args);
    const { profile } = await inspector.ask<{ profile: CpuProfile }>('Profiler.stop');
    inspector.close();

    const marks = await markedTasks(bench, tool, args);
    const tree = callTree(profile);
    writeFileSync(
      file(`flame-${tool}.svg`),
      flameGraph(tree, `main thread, ${TASKS} × ${tool} ${JSON.stringify(args)}`),
    );
    const perTask = (us: number) => `${Math.round(us / TASKS)} µs`;
    said.push(
      `## ${tool} ${JSON.stringify(args)}: ${Math.round(median(alone))} µs from request to reply (median of ${TASKS})`,
      '',
      '| processor time of | per task |',
      '|---|---|',
      ...threads.map(([name, us]) => `| ${name} | ${perTask(us)} |`),
      '',
      '| step | median, µs | p95, µs |',
      '|---|---|---|',
      ...stepRows(marks),
      '',
      '| main thread, profiled: part | per task |',
      '|---|---|',
      ...byPart(tree)
        .filter(([, us]) => us / TASKS >= 3)
        .map(([part, us]) => `| ${part} | ${perTask(us)} |`),
      '',
      `![flame graph](flame-${tool}.svg)`,
      '',
    );
  }
  const text = `# Where the time of a task goes

Written by \`npm run bench:profile\`. Processor time is what the kernel counted (user and system) while nothing was profiled,
one client, one task after the other; the parts are those of V8's sampling profiler, a sample each ${SAMPLE_US} µs, which makes the
work itself somewhat slower.

${said.join('\n')}`;
  writeFileSync(file('PROFILE.md'), text);
  console.log(text);
} finally {
  await bench.close();
}

/** When each task passed each step, in a service of its own that nothing else watches. */
async function markedTasks(bench: Bench, tool: string, args: Record<string, unknown>): Promise<Marks[]> {
  const preload = new URL('./mark-steps.js', import.meta.url).href;
  const service = await bench.service({}, ['--inspect=127.0.0.1:0', '--import', preload]);
  const sessionId = await service.session();
  for (let n = 0; n < WARM_UPS + TASKS; n += 1) await service.run(sessionId, tool, args);
  const inspector = await openInspector(service.inspector());
  const expression = `JSON.stringify(taskSteps.slice(-${TASKS}))`;
  const { result } = await inspector.ask<{ result: { value: string } }>('Runtime.evaluate', { expression });
  inspector.close();
  return JSON.parse(result.value) as Marks[];
}

/** What the kernel has counted for each thread of the service, and each process below it. */
function processorTimes(service: Service): Map<string, { readonly of: string; readonly us: number }> {
  const times = new Map<string, { of: string; us: number }>();
  const count = (of: string, path: string, withChildren: boolean) => {
    try {
      const text = readFileSync(path, 'latin1');
      const fields = text
        .slice(text.lastIndexOf(')') + 2)
        .split(' ')
        .map(Number);
      const ticks = fields[11]! + fields[12]! + (withChildren ? fields[13]! + fields[14]! : 0);
      times.set(path, { of, us: (ticks / TICKS_PER_SECOND) * 1e6 });
    } catch {
      // It has ended meanwhile.
    }
  };
  const { pid } = service;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    const comm = readFileSync(`/proc/${pid}/task/${thread}/comm`, 'utf8').trim();
    const of = Number(thread) === pid ? 'main thread' : `other threads (${comm})`;
    count(of, `/proc/${pid}/task/${thread}/stat`, false);
  }
  // Who has ended is counted with whoever waited for it.
  for (const descendant of service.descendants()) {
    count('processes of the sandbox', `/proc/${descendant}/stat`, true);
  }
  return times;
}

/** Microseconds since `before`, together for those of one kind, the most first. */
function since(before: ReturnType<typeof processorTimes>, service: Service): [string, number][] {
  const spent = new Map<string, number>();
  for (const [one, { of, us }] of processorTimes(service)) {
    spent.set(of, (spent.get(of) ?? 0) + us - (before.get(one)?.us ?? 0));
  }
  return [...spent].toSorted((a, b) => b[1] - a[1]);
}

// Much output, from a program to a reader that parses every event.
import { WebSocket } from 'ws';
import type { Bench, Part } from '../bench.js';
import { type FloorProcess, startFloor } from '../floors/child.js';
import { inTurns, ratioRow } from '../pairs.js';
import { median, type Row, summarize } from '../row.js';
import { memoryGrowth, type Service } from '../service.js';

const MEGABYTES = 100;
const BYTES = `
import sys
line = b'x' * 99 + b'\\n'
for _ in range(${MEGABYTES * 10}): sys.stdout.buffer.write(line * 1000)`;
const LINES = 1_000_000;
const PRINTS = `for n in range(${LINES}): print(n)`;

export const output: Part = {
  name: 'output',
  async run(bench) {
    const floor = await startFloor(bench, 'pipe-to-socket');
    const service = await bench.service();
    const sessionId = await service.session({ limits: { maxOutputBytes: 1024 ** 3, cpuPercent: 100 } });
    const growths: number[] = [];
    const bytes = await compare(bench, floor, service, sessionId, BYTES, growths);
    const lines = await compare(bench, floor, service, sessionId, PRINTS, []);
    const rate = (seconds: number) => MEGABYTES / (seconds / 1000);
    const growth: Row = {
      work: `${MEGABYTES} MB of stdout: memory of the service, at most`,
      unit: 'MiB',
      product: summarize(growths),
      figure: { what: 'MiB more', value: Math.max(...growths) },
      budget: { is: '≤', value: 48 },
    };
    return [
      ratioRow(
        { floor: bytes.floor.map(rate), product: bytes.product.map(rate), ratio: 1 / bytes.ratio },
        {
          work: `${MEGABYTES} MB of stdout to a WebSocket reader that parses`,
          unit: 'MB/s',
          floorIs: 'pipe, JSON, ws',
          budget: { is: '≥', value: 0.45 },
        },
      ),
      growth,
      ratioRow(lines, {
        work: '1,000,000 printed lines to a reader',
        unit: 'ms',
        floorIs: 'pipe, JSON, ws',
        budget: { is: '≤', value: 2 },
        note: `${Math.round(LINES / median(lines.product))} k lines/s`,
      }),
    ];
  },
};

async function compare(
  { effort }: Bench,
  floor: FloorProcess,
  service: Service,
  sessionId: string,
  code: string,
  growths: number[],
) {
  return inTurns(
    effort.rounds,
    {
      floor: () => readAll(floor.port, code),
      product: async () => {
        let took = 0;
        const growth = await memoryGrowth(service, async () => {
          took = await readTask(service, sessionId, code);
        });
        growths.push(growth);
        return took;
      },
    },
    1,
  );
}

/** Milliseconds until everything was parsed. */
function readAll(port: number, code: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}`);
    let begun = 0;
    socket.on('error', reject);
    socket.on('open', () => {
      begun = performance.now();
      socket.send(code);
    });
    socket.on('message', (data: Buffer) => {
      if (JSON.parse(data.toString()).type !== 'task.ended') return;
      socket.close();
      resolve(performance.now() - begun);
    });
  });
}

async function readTask(service: Service, sessionId: string, code: string): Promise<number> {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let bytes = 0;
  const reader = await service.reader(sessionId, (event) => {
    if (event.type === 'task.output') bytes += event.data.length;
    if (event.type === 'task.ended') end();
  });
  const begun = performance.now();
  const constraints = { maxOutputBytes: 1024 ** 3 };
  const taskId = await service.submit(sessionId, 'run.python', { code }, { constraints });
  await ended;
  const took = performance.now() - begun;
  reader.close();
  const { status, outputs } = await service.ended(taskId);
  if (status !== 'success' || outputs?.stdoutBytes !== bytes)
    throw new Error(`read ${bytes} bytes: ${status}`);
  return took;
}

// A whole workspace into an archive and back, beside what tar and a compressor do with the same tree.
import { existsSync } from 'node:fs';
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Bench, Part } from '../bench.js';
import { runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { type Row, summarize } from '../row.js';
import { memoryGrowth, type Service } from '../service.js';

/** Python that fills the current directory, always with the same. */
const TREES = {
  'm100 (4,396 files, 100 MB)': `
import os, random
r = random.Random(1)
words = [bytes(r.choices(b'abcdefghijklmnopqrstuvwxyz', k=r.randint(2, 9))) for _ in range(2000)]
text = b' '.join(r.choices(words, k=200000))
binary = bytes(r.choices(range(64), k=1000000))
for n in range(4396):
    os.makedirs('d%d/e%d' % (n % 40, n % 7), exist_ok=True)
    at = r.randrange(900000)
    data = r.randbytes(23000) if n % 3 == 2 else (text, binary)[n % 3][at:at + 23000]
    open('d%d/e%d/f%d' % (n % 40, n % 7, n), 'wb').write(data)`,
  's10k (10,000 files, 21 MB)': `
import os, random
r = random.Random(2)
text = bytes(r.choices(b'abcdefgh \\n', k=200000))
for n in range(10000):
    os.makedirs('d%d' % (n % 100), exist_ok=True)
    at = r.randrange(190000)
    open('d%d/f%d' % (n % 100, n), 'wb').write(text[at:at + 2100])`,
} as const;

const BUDGETS = { m100: { write: 1.2, read: 1.2 }, s10k: { write: 1.5, read: 1.6 } } as const;

export const checkpoints: Part = {
  name: 'checkpoints',
  async run(bench) {
    const service = await bench.service({ DEFAULT_MAX_INODES: '100000' });
    const rows: Row[] = [];
    for (const [name, code] of Object.entries(TREES))
      rows.push(...(await rowsOf(bench, service, name, code)));
    return rows;
  },
};

async function rowsOf(bench: Bench, service: Service, name: string, code: string): Promise<Row[]> {
  const budget = BUDGETS[name.slice(0, 4) as keyof typeof BUDGETS];
  const directory = await bench.directory();
  const source = join(directory, 'tree');
  await mkdir(source);
  await runProgram(['/usr/bin/python3', '-I', '-c', code], { cwd: source });
  const sessionId = await service.session({ limits: { diskMb: 1024 } });
  await service.run(sessionId, 'run.python', { code });

  const warmUps = bench.effort.rounds > 1 ? 1 : 0;
  const hasPigz = existsSync('/usr/bin/pigz');
  const compressor = hasPigz ? 'pigz -1' : 'gzip -1';
  const archive = join(directory, 'floor.tar.gz');
  const growths: number[] = [];
  let checkpointId = '';
  const written = await inTurns(
    bench.effort.rounds,
    {
      floor: () =>
        timed(() => runProgram(['/bin/sh', '-c', `tar -C ${source} -cf - . | ${compressor} > ${archive}`])),
      product: async () => {
        let took = 0;
        const growth = await memoryGrowth(service, async () => {
          took = await timed(async () => {
            const made = await service.call<{ checkpointId: string }>(
              'POST',
              `/v1/sessions/${sessionId}/checkpoints`,
              {},
            );
            checkpointId = made.checkpointId;
          });
        });
        growths.push(growth);
        return took;
      },
    },
    warmUps,
  );
  const target = join(directory, 'restored');
  const read = await inTurns(
    bench.effort.rounds,
    {
      floor: async () => {
        await mkdir(target);
        const took = await timed(() => runProgram(['tar', '-xzf', archive, '-C', target]));
        await rm(target, { recursive: true });
        return took;
      },
      product: async () => {
        let restored = '';
        const took = await timed(async () => {
          restored = await service.session({ checkpointId });
        });
        await service.call('DELETE', `/v1/sessions/${restored}?force=true`);
        return took;
      },
    },
    warmUps,
  );
  return [
    ratioRow(written, {
      work: `checkpoint ${name}`,
      unit: 'ms',
      floorIs: `tar | ${compressor}`,
      ...(hasPigz
        ? { budget: { is: '≤' as const, value: budget.write } }
        : { note: 'pigz is not installed: beside one core, and not judged' }),
    }),
    {
      work: `checkpoint ${name}: memory of the service, at most`,
      unit: 'MiB',
      product: summarize(growths),
      figure: { what: 'MiB more', value: Math.max(...growths) },
      budget: { is: '≤', value: 64 },
    },
    ratioRow(read, {
      work: `restore ${name}`,
      unit: 'ms',
      floorIs: 'tar -xzf',
      budget: { is: '≤', value: budget.read },
    }),
  ];
}

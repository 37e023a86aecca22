// A small wheel with one dependency, from an index on loopback.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Test } from 'tap';
import { startPackageIndex } from '../../test/helpers/package-index.js';
import type { Part } from '../bench.js';
import { runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';

const WHEELS = '/usr/share/python-wheels';

export const packages: Part = {
  name: 'packages',
  async run(bench) {
    const closing = { teardown: (close: () => unknown) => bench.undo.push('index', async () => close()) };
    const index = await startPackageIndex(closing as unknown as Test);
    const directory = await bench.directory();
    const pip = join(directory, 'pip');
    const wheel = (await readdir(WHEELS)).find((name) => /^pip-.*\.whl$/.test(name))!;
    await runProgram([
      ...[
        '/usr/bin/python3',
        join(WHEELS, wheel, 'pip'),
        'install',
        '--no-index',
        '--quiet',
        '--target',
        pip,
      ],
      join(WHEELS, wheel),
    ]);
    const target = join(directory, 'target');
    const service = await bench.service({ PIP_INDEX_URL: index.url });
    const pairs = await inTurns(
      Math.ceil(bench.effort.pairs / 5),
      {
        floor: async () => {
          await mkdir(target);
          const took = await timed(() =>
            runProgram([
              ...[
                '/usr/bin/env',
                '-i',
                'PIP_CONFIG_FILE=/dev/null',
                `PYTHONPATH=${pip}`,
                'HOME=/nonexistent',
              ],
              ...['/usr/bin/python3', '-m', 'pip', 'install', '--only-binary', ':all:', '--no-compile'],
              ...['--no-cache-dir', '--disable-pip-version-check', '--no-input', '--quiet'],
              ...['--index-url', index.url, '--target', target, 'tinypkg'],
            ]),
          );
          await rm(target, { recursive: true });
          return took;
        },
        product: async () => {
          const sessionId = await service.session();
          const took = await timed(() =>
            service.run(sessionId, 'pkg.install', { requirements: ['tinypkg'] }),
          );
          await service.call('DELETE', `/v1/sessions/${sessionId}`);
          return took;
        },
      },
      1,
    );
    return [
      ratioRow(pairs, {
        work: 'pkg.install of a small wheel with one dependency',
        unit: 'ms',
        floorIs: 'pip, unpacked, without walls',
        budget: { is: '≤', value: 1.2 },
      }),
    ];
  },
};

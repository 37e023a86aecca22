import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { bubblewrapBuilder } from '../../src/sandbox/builder.js';
import { instanceOf } from '../../src/sandbox/host-directories.js';
import { NoCgroup } from '../../src/sandbox/limits/no-cgroup.js';
import { type ProbeOptions, probeIsolation } from '../../src/sandbox/probe.js';
import { isHostRoot } from '../../src/sandbox/uids.js';
import { until } from '../helpers/world.js';

const isRoot = isHostRoot(process.getuid!(), readFileSync('/proc/self/uid_map', 'utf8'));
const uid = isRoot ? 265_000 : null;

function directory(t: Test): string {
  const path = mkdtempSync(join(tmpdir(), 'probe-'));
  chmodSync(path, 0o755);
  t.teardown(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

const probe = (
  t: Test,
  { bubblewrap = '/usr/bin/bwrap', ...options }: Partial<ProbeOptions> & { bubblewrap?: string } = {},
) =>
  probeIsolation({
    builder: bubblewrapBuilder(bubblewrap, { isRoot }),
    minimum: 'rootNoUserns',
    dataDir: join(directory(t), 'data'),
    limiter: new NoCgroup(),
    uid,
    ...options,
  });

/** A program in the place of bubblewrap. */
function stand(t: Test, program: string): string {
  const path = join(directory(t), 'bwrap');
  writeFileSync(path, program);
  chmodSync(path, 0o755);
  return path;
}

/** Bubblewrap itself, but with arguments left out: each of `without` and as many after it. */
const carelessBubblewrap = (t: Test, without: Readonly<Record<string, number>>) =>
  stand(
    t,
    `#!/usr/bin/python3 -I
import os, sys
if '--version' in sys.argv: os.execv('/usr/bin/bwrap', sys.argv)
left_out = ${JSON.stringify(without)}
given, kept = open(3, closefd=False).read().split('\\0')[:-1], []
while given:
    count = left_out.get(given[0])
    if count is None: kept.append(given[0])
    given = given[1 + (count or 0):]
fd = os.memfd_create('args', 0)
os.write(fd, b''.join(arg.encode() + b'\\0' for arg in kept))
os.lseek(fd, 0, os.SEEK_SET)
os.dup2(fd, 3)
os.execv('/usr/bin/bwrap', sys.argv)
`,
  );

const reached = await probe(t);
const skip =
  reached.level === 'full' ? false : `this host reaches ${reached.level}: ${reached.missing[0]?.what}`;

t.test('here the walls hold, and every check says so', { skip }, async (t) => {
  t.same(
    reached.checks.filter(({ ok }) => !ok),
    [],
  );
  t.same(reached.missing, []);
  t.match(reached.versions, { bubblewrap: /^\d/, python: /^3\./, kernel: /^\d/, node: /^\d/ });
});

t.test('the probe leaves nothing behind', { skip }, async (t) => {
  const parent = directory(t);
  const dataDir = join(parent, 'new', 'data');
  const probing = probe(t, { dataDir });
  const trial = await until(async () => existsSync(dataDir) && readdirSync(dataDir)[0]);
  const instance = await instanceOf(join(dataDir, trial));
  await probing;
  t.notOk(existsSync(dataDir));
  t.notOk(readdirSync(isRoot ? '/run' : tmpdir()).some((name) => name.endsWith(instance)));
});

t.test('without bubblewrap the report says how to get it', async (t) => {
  const report = await probe(t, { bubblewrap: join(directory(t), 'missing') });
  t.equal(report.level, null);
  t.match(report.missing, [{ what: /not installed/, fix: /apt-get install bubblewrap/ }]);
});

t.test('an old bubblewrap is refused by its version', async (t) => {
  const report = await probe(t, { bubblewrap: stand(t, '#!/bin/sh\necho bubblewrap 0.6.3\n') });
  t.equal(report.level, null);
  t.match(report.missing, [{ what: /0\.6\.3 is older than 0\.8/ }]);
});

t.test('where no namespace can be made the report says why and what to do', async (t) => {
  const refusing = stand(
    t,
    '#!/bin/sh\n[ "$1" = --version ] && echo bubblewrap 0.8.0 && exit 0\necho "bwrap: No permissions to create new namespace" >&2\nexit 1\n',
  );
  const report = await probe(t, { bubblewrap: refusing });
  t.equal(report.level, null);
  t.match(report.checks, [{ name: 'bubblewrap', ok: true }]);
  const levels = ['full', 'oneshot', ...(isRoot ? ['rootNoUserns'] : []), 'noProc'];
  t.match(
    report.tried,
    levels.map((level) => ({ level, ok: false, detail: /No permissions/ })),
  );
  t.equal(report.missing.length, 1);
  t.ok(report.missing[0]!.fix.length > 20);
});

t.test('without capabilities for nesting the level is oneshot', { skip }, async (t) => {
  const bubblewrap = carelessBubblewrap(t, { '--cap-add': 1 });
  const report = await probe(t, { bubblewrap });
  t.equal(report.level, 'oneshot');
  t.match(report.tried[0]?.detail, /clone: Operation not permitted/);
  const strict = await probe(t, { bubblewrap, minimum: 'full' });
  t.equal(strict.level, null);
  t.match(strict.missing.at(-1), { what: /level reached is oneshot/, fix: /ISOLATION_MIN=oneshot/ });
});

t.test('a level above the greatest one wanted is not tried', { skip }, async (t) => {
  const report = await probe(t, { maximum: 'oneshot' });
  t.equal(report.level, 'oneshot');
  t.match(report.tried, [{ level: 'oneshot', ok: true }]);
  t.same(report.missing, []);
});

const CARELESS: readonly [string, Readonly<Record<string, number>>][] = [
  ['network', { '--unshare-net': 0 }],
  ['readOnly', { '--remount-ro': 1 }],
  ['namespaces', { '--unshare-ipc': 0, '--unshare-uts': 0, '--hostname': 1 }],
  ['seccomp', { '--seccomp': 1, '--cap-add': 1 }],
];

for (const [name, without] of CARELESS) {
  t.test(
    `a bubblewrap without ${Object.keys(without).join(', ')} is found out by ${name}`,
    { skip },
    async (t) => {
      const report = await probe(t, { bubblewrap: carelessBubblewrap(t, without) });
      for (const level of ['full', 'oneshot'].slice('--cap-add' in without ? 1 : 0)) {
        const tried = report.tried.find((each) => each.level === level);
        t.match(tried, { ok: false, detail: `${name}: ` }, `${level}: ${tried?.detail}`);
      }
    },
  );
}

t.test(
  'run with the uid of root a sandbox is refused',
  { skip: skip || (isRoot ? false : 'not root') },
  async (t) => {
    const report = await probe(t, { uid: 0 });
    t.equal(report.level, null);
    t.ok(report.missing.some(({ what }) => /uid: .* 0 on the host/.test(what)));
  },
);

t.test('a data directory that every sandbox could read is refused', async (t) => {
  const report = await probe(t, { dataDir: '/usr/share/codegen-worker-probe' });
  t.equal(report.level, null);
  t.match(report.missing, [{ what: /lies below \/usr/, fix: /DATA_DIR/ }]);
  t.notOk(existsSync('/usr/share/codegen-worker-probe'));
});

t.test('a data directory that cannot be made is named', async (t) => {
  const report = await probe(t, { dataDir: '/etc/passwd/data' });
  t.equal(report.level, null);
  t.match(report.missing, [{ what: /\/etc\/passwd\/data/ }]);
});

import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { describeIsolation, runDoctor } from '../../src/cli/doctor.js';
import { loadConfig } from '../../src/config.js';

async function run(args: readonly string[], config = loadConfig({})) {
  let said = '';
  const code = await runDoctor(config, args, (text) => {
    said += text;
  });
  return { code, said };
}

t.test('it prints a report and its exit code says whether tasks can run', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'doctor-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const config = loadConfig({ DATA_DIR: join(directory, 'data') });
  const { code, said } = await run(['--json'], config);
  const report = JSON.parse(said);
  t.equal(code, report.level === null ? 1 : 0);
  t.match(report, { minimum: 'rootNoUserns', checks: [{ name: 'bubblewrap' }] });
  const isHeld = process.getuid!() === 0 && existsSync('/dev/loop-control') && report.level !== null;
  t.ok((isHeld ? ['image', 'quota'] : ['watcher']).includes(report.limits.disk), report.limits.disk);
  t.same(readdirSync(directory), [], 'nothing of the trial is left');
  const words = await run([], config);
  t.equal(words.code, code);
  t.match(words.said, report.level === null ? /Tasks are refused/ : `Isolation level: ${report.level}`);
});

t.test('where tasks are refused the fix stands in the words', async (t) => {
  const words = describeIsolation({
    level: null,
    minimum: 'rootNoUserns',
    checks: [{ name: 'bubblewrap', ok: false, detail: 'not found' }],
    tried: [],
    enforced: null,
    limits: { cgroup: null, memory: 'rlimit', cpu: null, processes: 'rlimit', disk: 'watcher' },
    missing: [{ what: 'bubblewrap is not installed', fix: 'Run: apt-get install bubblewrap' }],
    versions: { node: '20.19.0' },
  });
  t.match(words, /Tasks are refused/);
  t.match(words, /FAIL {2}bubblewrap {2}not found/);
  t.match(words, /Missing: bubblewrap is not installed\n {4}Run: apt-get install bubblewrap/);
  t.match(words, /no cgroup can be used/);
});

t.test('a way to hold the disk that cannot be had is said', async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'doctor-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const { said } = await run(['--json'], loadConfig({ DATA_DIR: directory, DISK_LIMIT: 'quota' }));
  const report = JSON.parse(said);
  const what = /DISK_LIMIT=quota is not possible here/;
  if (report.level !== null && report.limits.disk !== 'quota') t.match(report.missing.at(-1), { what });
});

t.test('an unknown option is refused', async (t) => {
  t.match(await run(['--fix']), { code: 2, said: /no option "--fix"/ });
});

// The set-up that runs before `npm start` and `npm test`.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { root } from '../helpers/sources.js';

interface Package {
  name: string;
  isThere(): boolean;
}
const load = (script: string) => import(pathToFileURL(join(root, 'scripts', script)).href);
const { modulesMatch }: { modulesMatch(folder: string): boolean } = await load('setup/modules.mjs');
const system: {
  missingSystemPackages(packages: Package[]): string[];
  bubblewrapTooOld(versionLine: string): string | undefined;
} = await load('setup/system.mjs');
const { takeTurn }: { takeTurn(folder: string): Promise<() => void> } = await load('setup/one-at-a-time.mjs');

t.test('an old Node is told so in words', async (t) => {
  const pretend = "Object.defineProperty(process.versions, 'node', { value: '20.18.9' })";
  const preload = join(t.testdir({ 'old.cjs': pretend }), 'old.cjs');
  const script = join(root, 'scripts/setup.mjs');
  const { status, stderr } = spawnSync(process.execPath, ['-r', preload, script], { encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stderr, 'Node 20.19 or newer is needed');
});

t.test('node_modules is compared with the lockfile', async (t) => {
  const a = { version: '1.0.0', integrity: 'sha512-a' };
  const b = { version: '1.0.0', integrity: 'sha512-b' };
  const cases = [
    { title: 'the same', locked: { a }, installed: { a }, match: true },
    { title: 'nothing installed', locked: { a }, installed: undefined, match: false },
    { title: 'one is missing', locked: { a, b }, installed: { a }, match: false },
    { title: 'one is another version', locked: { a }, installed: { a: b }, match: false },
    { title: 'one is left over', locked: { a }, installed: { a, b }, match: false },
    {
      title: 'a binary for another machine is absent',
      locked: { a, b: { ...b, optional: true, os: ['win32'] } },
      installed: { a },
      match: true,
    },
    {
      title: 'the binary for this machine is absent',
      locked: { a, b: { ...b, optional: true, os: [process.platform], cpu: [process.arch] } },
      installed: { a },
      match: false,
    },
  ];
  for (const { title, locked, installed, match } of cases) {
    const folder = t.testdir({
      'package-lock.json': JSON.stringify({ packages: { '': {}, ...locked } }),
      node_modules: installed ? { '.package-lock.json': JSON.stringify({ packages: installed }) } : {},
    });
    t.equal(modulesMatch(folder), match, title);
  }
});

t.test('only what is missing is asked for', async (t) => {
  const packages = [
    { name: 'bubblewrap', isThere: () => false },
    { name: 'python3', isThere: () => true },
  ];
  t.same(system.missingSystemPackages(packages), ['bubblewrap']);
});

t.test('a bubblewrap before 0.8 is too old', async (t) => {
  t.match(system.bubblewrapTooOld('bubblewrap 0.4.1'), '0.8 or newer is needed; this is 0.4');
  t.equal(system.bubblewrapTooOld('bubblewrap 0.8.0'), undefined);
  t.equal(system.bubblewrapTooOld('bubblewrap 1.0.0'), undefined);
  t.equal(system.bubblewrapTooOld(''), undefined, 'one that is not there is missing, not old');
});

t.test('two set-ups of one clone take turns, and those of two clones do not', async (t) => {
  const order: string[] = [];
  const [one, other] = [t.testdirName, `${t.testdirName}-other`];
  const endFirst = await takeTurn(one);
  const second = takeTurn(one).then((endTurn) => {
    order.push('second');
    endTurn();
  });
  (await takeTurn(other))();
  order.push('first ends');
  endFirst();
  await second;
  t.same(order, ['first ends', 'second']);
});

t.test('a turn ends with its process, also when it is killed', async (t) => {
  const script = `
    const { takeTurn } = await import(${JSON.stringify(pathToFileURL(join(root, 'scripts/setup/one-at-a-time.mjs')).href)});
    await takeTurn(${JSON.stringify(t.testdirName)});
    process.kill(process.pid, 'SIGKILL');`;
  const { signal } = spawnSync(process.execPath, ['--input-type=module', '-e', script]);
  t.equal(signal, 'SIGKILL');
  (await takeTurn(t.testdirName))();
});

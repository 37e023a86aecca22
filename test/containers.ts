// What can be proven of Dockerfile, docker-compose.yml and the workflow without an engine: they agree with the rest.
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { Settings } from '../src/config.js';
import { readOurs, root } from './helpers/sources.js';

const dockerfile = readOurs('Dockerfile').replace(/\\\n/g, ' ');
const compose = readOurs('docker-compose.yml');
const manifest = JSON.parse(readOurs('package.json'));
const settings = Object.keys(Settings.properties);

function instructions(name: string): string[] {
  return dockerfile
    .split('\n')
    .filter((line) => line.startsWith(`${name} `))
    .map((line) => line.slice(name.length + 1).trim());
}

/** The first group of each match. */
function found(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, group]) => group ?? '');
}

t.test('what the image copies is there, and is let through to the engine', async (t) => {
  const letThrough = readOurs('.dockerignore')
    .split('\n')
    .filter((line) => line.startsWith('!'))
    .map((line) => line.slice(1));
  const sources = instructions('COPY')
    .filter((words) => !words.startsWith('--from='))
    .flatMap((words) => words.split(' ').slice(0, -1));
  t.not(sources.length, 0);
  for (const source of sources) {
    t.ok(existsSync(join(root, source)), `${source} exists`);
    t.ok(letThrough.includes(source), `.dockerignore lets ${source} through`);
  }
});

t.test('the image works outside /usr, which every sandbox sees', async (t) => {
  const folders = [
    ...instructions('WORKDIR'),
    ...instructions('VOLUME'),
    /DATA_DIR=(\S+)/.exec(dockerfile)?.[1] ?? '',
  ];
  for (const folder of folders) t.match(folder, /^\/(opt|var)\//);
});

t.test('the image has every Debian package that the set-up asks for', async (t) => {
  const asked = found(readOurs('scripts/setup/system.mjs'), /\{ name: '([^']+)'/g);
  t.not(asked.length, 0);
  const installed = /apt-get install .*? && /.exec(dockerfile)?.[0].split(/\s+/) ?? [];
  for (const name of asked) t.ok(installed.includes(name), name);
});

t.test('image, compose file and package agree on program, version and Node', async (t) => {
  const [program] = /node .*main\.js/.exec(manifest.scripts.start) ?? [];
  t.equal(JSON.parse(instructions('CMD').at(-1) ?? '[]').join(' '), program);
  t.match(compose, `image: codegen-worker:${manifest.version}\n`);
  const oldest = manifest.engines.node.replace('>=', '');
  t.match(readOurs('.github/workflows/ci.yml'), `node: ["${oldest}",`);
  for (const image of instructions('FROM')) t.match(image, /^node:(2[0-9])-bookworm-slim/);
});

t.test('only settings that exist are set', async (t) => {
  const inImage = found(/^ENV (.*)$/m.exec(dockerfile)?.[1] ?? '', /([A-Z_]+)=/g);
  const inCompose = found(compose, /^ {6}([A-Z_]+): /gm);
  t.ok(inImage.length > 2 && inCompose.length > 2);
  for (const name of [...inImage, ...inCompose]) {
    if (name !== 'NODE_ENV') t.ok(settings.includes(name), name);
  }
});

t.test('compose refuses to start without keys, and stays on loopback', async (t) => {
  t.match(compose, /API_KEYS: \$\{API_KEYS:\?/);
  t.match(compose, /- "127\.0\.0\.1:\$\{PORT:-8080\}:8080"/);
});

t.test('the seccomp profile leaves what a sandbox is made of', async (t) => {
  const profile: { defaultAction: string; syscalls: { names: string[]; action: string }[] } = JSON.parse(
    readOurs('docker/seccomp.json'),
  );
  t.match(compose, 'seccomp=./docker/seccomp.json');
  t.equal(profile.defaultAction, 'SCMP_ACT_ALLOW');
  const denied = profile.syscalls.flatMap(({ names }) => names);
  const needed = [
    'clone',
    'clone3',
    'unshare',
    'mount',
    'umount2',
    'pivot_root',
    'sethostname',
    'prctl',
    'seccomp',
  ];
  t.same(
    needed.filter((name) => denied.includes(name)),
    [],
  );
  for (const attack of ['bpf', 'ptrace', 'kexec_load', 'init_module', 'open_by_handle_at', 'userfaultfd']) {
    t.ok(denied.includes(attack), `${attack} is denied`);
  }
});

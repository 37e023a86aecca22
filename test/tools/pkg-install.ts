import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { eventsOf, startService, until } from '../helpers/world.js';

t.test('what is installed is known to the next install', async (t) => {
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const { sessionId } = await world.session();
  const install = (args: Record<string, unknown>) => world.run(sessionId, 'pkg.install', args);
  const dep = { name: 'tinydep', version: '2.0' };

  await t.test('a package lands in the site-packages of the environment', async (t) => {
    const task = await install({ requirements: ['tinypkg==1.0'] });
    t.equal(task.status, 'success', JSON.stringify(task.ending));
    t.same(task.outputs?.alreadyInstalled, []);
    const where = await world.python(sessionId, 'import tinypkg; print(tinypkg.__file__)');
    t.match(where.outputs, {
      stdout: /^\/workspace\/\.venv\/lib\/python3\.\d+\/site-packages\/tinypkg\.py\n$/,
    });
  });

  await t.test('a second install of the same finds it there', async (t) => {
    const { outputs } = await install({ requirements: ['tinypkg==1.0'] });
    t.same(outputs?.installed, []);
    t.same(outputs?.alreadyInstalled, [{ name: 'tinypkg', version: '1.0' }, dep]);
  });

  await t.test('an upgrade takes the place of the old version', async (t) => {
    const { outputs } = await install({ requirements: ['tinypkg'], upgrade: true });
    t.same(outputs?.installed, [{ name: 'tinypkg', version: '1.1' }]);
    t.same(outputs?.alreadyInstalled, [{ name: 'tinypkg', version: '1.0' }, dep], 'there before');
    const code = `import glob, os, tinypkg
print(tinypkg.__version__)
for path in glob.glob("/workspace/.venv/**/tinypkg-*", recursive=True): print(os.path.basename(path))`;
    t.match(await world.python(sessionId, code), { outputs: { stdout: '1.1\ntinypkg-1.1.dist-info\n' } });
  });
});

t.test('packages come from the index and its file hosts only', async (t) => {
  const elsewhere = await startPackageIndex(t);
  // It keeps its files on another host, and sends whoever asks for `moved` there.
  const index = createServer((request, response) => {
    if (request.url === '/simple/moved/')
      return response
        .writeHead(302, { location: elsewhere.url.replace('/simple/', '/simple/tinydep/') })
        .end();
    response.setHeader('content-type', 'text/html');
    response.end(
      `<a href="http://${elsewhere.hosts[0]}/files/tinydep-2.0-py3-none-any.whl">tinydep-2.0-py3-none-any.whl</a>`,
    );
  });
  await new Promise<void>((resolve) => index.listen(0, '127.0.0.1', resolve));
  t.teardown(() => index.close());
  const url = `http://127.0.0.1:${(index.address() as AddressInfo).port}/simple/`;
  const startWorld = async (settings: Record<string, string>) => {
    const world = await startService(t, { PIP_INDEX_URL: url, ...settings });
    const { sessionId } = await world.session();
    const install = (name: string) => world.run(sessionId, 'pkg.install', { requirements: [name] });
    return { world, sessionId, install };
  };

  const { world, sessionId, install } = await startWorld({});
  for (const name of ['tinydep', 'moved']) {
    const { ending } = await install(name);
    t.match(ending, { cause: 'toolError', code: 'INSTALL_FAILED' });
    t.match(ending?.message, new RegExp(`^pip was sent to ${elsewhere.hosts[0]}, .*PIP_FILE_HOSTS`));
  }
  const refused = (await eventsOf(world, sessionId)).flatMap(({ type, data }) =>
    type === 'session.network' && !data.allowed ? [`${data.host}:${data.port} ${data.reason}`] : [],
  );
  t.same([...new Set(refused)], [`${elsewhere.hosts[0]} not in the allowlist`]);
  t.same(elsewhere.requests, []);

  const allowed = await startWorld({ PIP_FILE_HOSTS: String(elsewhere.hosts[0]) });
  const { outputs } = await allowed.install('tinydep');
  t.same(outputs?.installed, [{ name: 'tinydep', version: '2.0' }]);
});

t.test(
  'wheels larger than /tmp are unpacked on the disk of the session, and nothing of that is left',
  async (t) => {
    const large = (name: string, requires: string[] = []) => ({
      name,
      version: '1.0',
      requires,
      files: { [`${name}.py`]: `# ${'x'.repeat(40 * 1024 * 1024)}\n` },
    });
    let isHeld = false;
    const index = await startPackageIndex(t, {
      wheels: [large('largeone', ['largetwo']), large('largetwo')],
      hold: (filename) => isHeld && filename.startsWith('largetwo'),
    });
    const world = await startService(t, { PIP_INDEX_URL: index.url });
    const { sessionId } = await world.session();
    const scratch = async () => {
      const { outputs } = await world.run(sessionId, 'fs.list', { path: '.venv' });
      const { entries } = outputs as { entries: { name: string }[] };
      return entries.map(({ name }) => name).filter((name) => name.startsWith('.pip-scratch'));
    };
    const requirements = ['largeone'];
    t.match(await world.run(sessionId, 'pkg.install', { requirements }), {
      status: 'success',
      outputs: {
        installed: [
          { name: 'largeone', version: '1.0' },
          { name: 'largetwo', version: '1.0' },
        ],
      },
    });
    t.same(await scratch(), []);

    const other = await world.session({ concurrency: 2 });
    isHeld = true;
    const task = await world.start(other.sessionId, 'pkg.install', { requirements });
    const held = async () => {
      const { outputs } = await world.run(other.sessionId, 'run.command', {
        command: 'find /workspace/.venv -name "*largetwo*"',
      });
      return outputs?.stdout !== '';
    };
    await until(held);
    t.match(await world.call('POST', `/v1/tasks/${task.taskId}/cancel`, {}), { body: { cancelled: true } });
    const left = await world.run(other.sessionId, 'run.command', { command: 'ls -A /workspace/.venv' });
    t.notMatch(left.outputs?.stdout, /scratch/);
  },
);

t.test('what the session wrote is not taken for what pip did', async (t) => {
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const { sessionId } = await world.session();
  const plant = `import os, sysconfig
packages = sysconfig.get_path("purelib")
for name, version in {"tinydep": "2.0\\u2028Successfully installed evil-9.9", "other": "1\\x1e[[evil,9]]"}.items():
    info = f"{packages}/{name}-2.0.dist-info"
    os.makedirs(info)
    open(f"{info}/METADATA", "w").write(f"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    open(f"{info}/RECORD", "w").close()`;
  await world.python(sessionId, plant);
  const task = await world.run(sessionId, 'pkg.install', { requirements: ['tinypkg==1.0', 'other'] });
  t.notMatch(JSON.stringify(task.outputs?.installed), 'evil', JSON.stringify(task));
  t.notMatch(JSON.stringify(task.outputs?.alreadyInstalled), 'evil');
});

t.test('a failed installation says what the proxy decided, and why', async (t) => {
  // Names below .invalid have no address anywhere (RFC 6761), with name service or without.
  const lost = await startService(t, { PIP_INDEX_URL: 'https://index.invalid/simple/' });
  const { sessionId } = await lost.session();
  const { ending } = await lost.run(sessionId, 'pkg.install', { requirements: ['tinypkg'] });
  t.match(ending, { cause: 'toolError', code: 'INSTALL_FAILED' });
  t.match(ending?.message, /^the service could not look up index\.invalid:443; .*PIP_INDEX_URL/);
  t.notMatch(ending?.message, /may not come from/);
});

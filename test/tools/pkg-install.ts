import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { eventsOf, startService } from '../helpers/world.js';

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

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
  const install = async (settings: Record<string, string>, requirement: string) => {
    const world = await startService(t, { PIP_INDEX_URL: url, ...settings });
    const { sessionId } = await world.session();
    const task = await world.run(sessionId, 'pkg.install', { requirements: [requirement] });
    return { task, events: await eventsOf(world, sessionId) };
  };

  for (const requirement of ['tinydep', 'moved']) {
    const { task, events } = await install({}, requirement);
    t.match(task.ending, { cause: 'toolError', code: 'INSTALL_FAILED' });
    t.match(task.ending?.message, new RegExp(`^pip was sent to ${elsewhere.hosts[0]}, .*PIP_FILE_HOSTS`));
    const refused = events.filter(({ type }) => type === 'session.network').at(-1);
    t.match(refused?.data, { allowed: false, host: '127.0.0.1', reason: 'not in the allowlist' });
  }
  t.same(elsewhere.requests, []);

  const { task } = await install({ PIP_FILE_HOSTS: String(elsewhere.hosts[0]) }, 'tinydep');
  t.same(task.outputs?.installed, [{ name: 'tinydep', version: '2.0' }]);
});

import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { startService } from '../helpers/world.js';

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

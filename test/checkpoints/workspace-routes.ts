import { execFileSync } from 'node:child_process';
import t from 'tap';
import { startService } from '../helpers/world.js';

t.test('the workspace is downloaded as it is, links kept and what is no file left out', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.writeFile(sessionId, 'src/main.py', 'print("hello")\n');
  await world.python(
    sessionId,
    'import os\nos.mkfifo("fifo"); os.symlink("/etc/passwd", "link"); os.chmod("src", 0)\nopen("big", "wb").write(os.urandom(2_000_000))',
  );
  const response = await fetch(`${world.url}/v1/sessions/${sessionId}/files/archive`);
  t.equal(response.status, 200);
  t.equal(response.headers.get('content-type'), 'application/gzip');
  t.equal(response.headers.get('content-disposition'), `attachment; filename="${sessionId}.tar.gz"`);
  const input = Buffer.from(await response.arrayBuffer());
  const names = execFileSync('tar', ['-tz'], { input, encoding: 'utf8' }).split('\n');
  for (const name of ['src/', 'src/main.py', 'link', 'big', '.venv/pyvenv.cfg'])
    t.ok(names.includes(name), name);
  t.notOk(names.includes('fifo'));
  t.equal(execFileSync('tar', ['-xzO', 'src/main.py'], { input, encoding: 'utf8' }), 'print("hello")\n');

  const missing = await world.call('GET', '/v1/sessions/none/files/archive');
  t.match([missing.status, missing.body], [404, { code: 'SESSION_NOT_FOUND' }]);
  const head = await fetch(`${world.url}/v1/sessions/${sessionId}/files/archive`, { method: 'HEAD' });
  t.equal(head.status, 405);
  await world.call('DELETE', `/v1/sessions/${sessionId}`);
  const ended = await world.call('GET', `/v1/sessions/${sessionId}/files/archive`);
  t.match([ended.status, ended.body], [409, { code: 'SESSION_ENDED' }]);
});

t.test(
  'a download that is broken off, by its reader or by the end of the session, leaves nobody reading',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    await world.python(
      sessionId,
      'import os\nfor i in range(8): open(str(i), "wb").write(os.urandom(8_000_000))',
    );
    const leave = new AbortController();
    const url = `${world.url}/v1/sessions/${sessionId}/files/archive`;
    const left = await fetch(url, { signal: leave.signal });
    leave.abort();
    await t.rejects(left.arrayBuffer());
    const ended = await fetch(url);
    // Deleting waits for every process of the session.
    t.equal((await world.call('DELETE', `/v1/sessions/${sessionId}`)).status, 200);
    await t.rejects(ended.arrayBuffer(), 'a part is never taken for the whole');
  },
);

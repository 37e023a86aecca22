// What the Worker Testing Guide asserts, case by case, over REST against a real service.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { eventsOf, linesIn, processesNamed, startService, until } from '../helpers/world.js';

t.test('session pool', async (t) => {
  const world = await startService(t, { MAX_SESSIONS: '2' });

  t.test('creating gives a session with workspace and user', async (t) => {
    const session = await world.session({ workspaceId: 'workspace-1', userId: 'user-1' });
    t.match(session, { workspaceId: 'workspace-1', userId: 'user-1', state: 'ready' });
    t.match(await world.call('GET', '/v1/capacity'), { body: { total: 2, active: 1, available: 1 } });
  });

  t.test(
    'at MAX_SESSIONS the next create fails with "capacity exceeded", and a delete frees a slot',
    async (t) => {
      const second = await world.session();
      const refused = await world.call('POST', '/v1/sessions', {});
      t.match(refused, {
        status: 503,
        body: { code: 'CAPACITY_EXCEEDED', detail: /capacity exceeded/, retryable: true },
      });
      t.ok(Number(refused.headers.get('retry-after')) > 0);
      t.equal((await world.call('DELETE', `/v1/sessions/${second.sessionId}`)).status, 200);
      t.match(await world.call('GET', '/v1/capacity'), { body: { active: 1 } });
      t.match(await world.session(), { state: 'ready' });
    },
  );
});

t.test('one service', async (t) => {
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const { sessionId } = await world.session();

  t.test('isolation: a file written in one session does not exist in another', async (t) => {
    const other = await world.session();
    await world.writeFile(sessionId, 'secret.txt', 'mine');
    t.match(await world.run(other.sessionId, 'fs.read', { path: 'secret.txt' }), {
      status: 'failure',
      ending: { cause: 'toolError', code: 'FILE_NOT_FOUND' },
    });
    t.match(await world.python(other.sessionId, 'import os; print(os.path.exists("secret.txt"))'), {
      outputs: { stdout: 'False\n' },
    });
    await world.call('DELETE', `/v1/sessions/${other.sessionId}`);
  });

  t.test('echo returns the message', async (t) => {
    t.match(await world.run(sessionId, 'echo', { message: 'hello' }), {
      status: 'success',
      ending: { cause: 'finished' },
      outputs: { message: 'hello' },
    });
  });

  t.test('an unknown tool is an error that names the known ones', async (t) => {
    t.match(await world.call('POST', `/v1/sessions/${sessionId}/tasks`, { tool: 'no.such', arguments: {} }), {
      status: 400,
      body: { code: 'UNKNOWN_TOOL', suggestion: /run\.python/ },
    });
  });

  const writes = [
    { path: 'test.txt', contents: 'test data', bytes: 9 },
    { path: 'data/test.txt', contents: 'test content', bytes: 12 },
  ];
  for (const { path, contents, bytes } of writes) {
    t.test(
      `fs.write of "${contents}" to ${path} reports ${bytes} bytes, and fs.read returns it`,
      async (t) => {
        t.match(await world.writeFile(sessionId, path, contents), { outputs: { path, bytesWritten: bytes } });
        t.equal(await world.readFile(sessionId, path), contents);
      },
    );
  }

  t.test('fs.list of data contains test.txt', async (t) => {
    await world.writeFile(sessionId, 'data/test.txt', 'test content');
    const listed = await world.run(sessionId, 'fs.list', { path: 'data' });
    t.match(listed.outputs, { totalCount: 1, entries: [{ name: 'test.txt', type: 'file', sizeBytes: 12 }] });
  });

  t.test('run.python of print(2 + 2) gives 4 and exit code 0', async (t) => {
    t.match(await world.python(sessionId, 'print(2 + 2)'), {
      status: 'success',
      ending: { cause: 'exited', exitCode: 0 },
      outputs: { stdout: '4\n', stderr: '', exitCode: 0 },
    });
  });

  t.test("run.python of print('unclosed gives exit code 1 and says why on stderr", async (t) => {
    t.match(await world.python(sessionId, "print('unclosed"), {
      status: 'failure',
      ending: { cause: 'exited', exitCode: 1 },
      outputs: { exitCode: 1, stdout: '', stderr: /SyntaxError/ },
    });
  });

  /** Sleeps under a name that can be found on the host, with a child that does the same and ignores SIGTERM. */
  const sleeper = (name: string) => `import ctypes, os, signal, time
ctypes.CDLL(None).prctl(15, b"${name}", 0, 0, 0)
if os.fork() == 0: signal.signal(signal.SIGTERM, signal.SIG_IGN)
else: print("before", flush=True)
time.sleep(60)`;

  t.test(
    'cancellation of time.sleep(60) ends as cancelled, with its output, and leaves no process',
    async (t) => {
      const { taskId } = await world.submit(sessionId, 'run.python', { code: sleeper('cw-cancelled') });
      await until(async () => (await processesNamed('cw-cancelled')).length === 2);
      await until(async () => linesIn(await eventsOf(world, sessionId), taskId) > 0);
      const cancelled = await world.call('POST', `/v1/tasks/${taskId}/cancel`, { reason: 'enough' });
      t.same(await processesNamed('cw-cancelled'), [], 'gone when the reply comes');
      t.match(cancelled, {
        status: 200,
        body: {
          cancelled: true,
          processesKilled: 2,
          task: {
            status: 'cancelled',
            ending: { cause: 'cancelled', reason: 'enough' },
            outputs: { stdout: 'before\n' },
          },
        },
      });
      t.match(await world.call('POST', `/v1/tasks/${taskId}/cancel`), {
        status: 200,
        body: { cancelled: false },
      });
    },
  );

  t.test(
    'a 1 s timeout on time.sleep(60) ends as timeout, with its output, and leaves no process',
    async (t) => {
      const task = await world.python(sessionId, sleeper('cw-timed-out'), {
        constraints: { timeoutSeconds: 1 },
      });
      t.same(await processesNamed('cw-timed-out'), []);
      t.match(task, {
        status: 'timeout',
        ending: { cause: 'timedOut', message: /1000 ms/, processesKilled: 2 },
        outputs: { stdout: 'before\n' },
      });
      t.ok(task.durationMs! >= 1000 && task.durationMs! < 10_000);
    },
  );

  t.test('pkg.install of two packages, one pinned, lists both and the import then works', async (t) => {
    const task = await world.run(sessionId, 'pkg.install', { requirements: 'tinypkg\npinned==2.3.0' });
    t.equal(task.status, 'success', JSON.stringify(task.ending));
    const installed = task.outputs?.installed as { name: string; version: string }[];
    t.same(installed.map(({ name, version }) => `${name} ${version}`).sort(), [
      'pinned 2.3.0',
      'tinydep 2.0',
      'tinypkg 1.1',
    ]);
    t.match(await world.python(sessionId, 'import tinypkg, pinned, tinydep; print("imported")'), {
      outputs: { stdout: 'imported\n', stderr: '' },
    });
  });

  t.test('a failing install tells pip’s reason', async (t) => {
    t.match(await world.run(sessionId, 'pkg.install', { requirements: ['nosuchpackage==9'] }), {
      status: 'failure',
      ending: {
        cause: 'toolError',
        code: 'INSTALL_FAILED',
        message: /No matching distribution found for nosuchpackage==9/,
      },
      outputs: { installed: [], failed: ['nosuchpackage==9'], exitCode: 1 },
    });
  });

  t.test('a checkpoint is <checkpointId>.tar.gz, and restoring it gives the old contents', async (t) => {
    await world.writeFile(sessionId, 'script.py', 'print("old")');
    const made = await world.call<{ checkpointId: string }>(
      'POST',
      `/v1/sessions/${sessionId}/checkpoints`,
      {},
    );
    t.equal(made.status, 201);
    const archive = await readFile(join(world.dataDir, 'checkpoints', `${made.body.checkpointId}.tar.gz`));
    t.same([...archive.subarray(0, 2)], [0x1f, 0x8b], 'gzip');
    await world.writeFile(sessionId, 'script.py', 'print("new")');
    const restored = await world.call<{ sessionId: string }>(
      'POST',
      `/v1/checkpoints/${made.body.checkpointId}/restore`,
      { mode: 'new' },
    );
    t.equal(restored.status, 201);
    const copy = restored.body.sessionId;
    t.equal(await world.readFile(copy, 'script.py'), 'print("old")');
    t.match(await world.run(copy, 'run.python', { file: 'script.py' }), { outputs: { stdout: 'old\n' } });
    t.match(await world.python(copy, 'import tinypkg; print("still there")'), {
      outputs: { stdout: 'still there\n' },
    });
    t.equal(await world.readFile(sessionId, 'script.py'), 'print("new")');
  });

  t.test('a 10 MB file survives a checkpoint byte for byte', async (t) => {
    const code = `import os, hashlib
b = os.urandom(10 * 1024 * 1024)
open('big.bin', 'wb').write(b); print(hashlib.sha256(b).hexdigest())`;
    const before = (await world.python(sessionId, code)).outputs?.stdout;
    const made = await world.call<{ checkpointId: string }>(
      'POST',
      `/v1/sessions/${sessionId}/checkpoints`,
      {},
    );
    const restored = await world.call<{ sessionId: string }>(
      'POST',
      `/v1/checkpoints/${made.body.checkpointId}/restore`,
      { mode: 'new' },
    );
    const hash = `import hashlib; print(hashlib.sha256(open('big.bin', 'rb').read()).hexdigest())`;
    t.equal((await world.python(restored.body.sessionId, hash)).outputs?.stdout, before);
  });
});

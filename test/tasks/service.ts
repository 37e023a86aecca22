import t from 'tap';
import type { Task } from '../../src/tasks/schema.js';
import { eventsOf, linesIn, startService, until, type World } from '../helpers/world.js';

/** Follows `nextCursor` to the end. */
async function allPages<T>(world: World, path: string): Promise<T[][]> {
  const pages: T[][] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const query: string = cursor && `${path.includes('?') ? '&' : '?'}cursor=${cursor}`;
    const reply = await world.call<{ items: T[]; nextCursor: string | null }>('GET', `${path}${query}`);
    pages.push(reply.body.items);
    cursor = reply.body.nextCursor;
  }
  return pages;
}

t.test('tasks', async (t) => {
  const world = await startService(t, { MAX_QUEUED_TASKS: '3', MAX_BACKGROUND_TASKS: '1' });
  const sleeper = (seconds: number) => ({ code: `import time; time.sleep(${seconds})` });

  t.test('tasks of a session run one after the other, in the order in which they came', async (t) => {
    const { sessionId } = await world.session();
    const code = (n: number) => `open('order', 'a').write('${n}')`;
    const tasks: Task[] = [];
    for (const n of [1, 2, 3]) tasks.push(await world.submit(sessionId, 'run.python', { code: code(n) }));
    await until(
      async () => (await world.call<Task>('GET', `/v1/tasks/${tasks[2]!.taskId}?wait=5`)).body.endedAt,
    );
    t.equal(await world.readFile(sessionId, 'order'), '123');
    const started = (await eventsOf(world, sessionId)).filter(
      (e) => e.type === 'task.started' || e.type === 'task.ended',
    );
    t.same(
      started.slice(0, 4).map((e) => e.type),
      ['task.started', 'task.ended', 'task.started', 'task.ended'],
    );
  });

  t.test('concurrency lets several run at once; a background task runs beside them', async (t) => {
    const { sessionId } = await world.session({ concurrency: 2 });
    const waitFor = (name: string) => ({
      code: `import os, time
open('${name}', 'w').close()
while not os.path.exists('go'): time.sleep(.01)`,
    });
    const tasks = [
      await world.submit(sessionId, 'run.python', waitFor('a')),
      await world.submit(sessionId, 'run.python', waitFor('b')),
      await world.submit(sessionId, 'run.python', waitFor('c'), { background: true }),
    ];
    await until(async () => {
      const { body } = await world.call<{ runningTasks: number }>('GET', `/v1/sessions/${sessionId}`);
      return body.runningTasks === 3 ? body : undefined;
    });
    t.match(
      await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
        tool: 'run.python',
        arguments: sleeper(1),
        background: true,
      }),
      {
        status: 429,
        body: { code: 'TOO_MANY_TASKS' },
      },
    );
    await world.submit(sessionId, 'run.python', { code: "open('go', 'w').close()" });
    await world.call('POST', `/v1/tasks/${tasks[0]!.taskId}/cancel`);
    for (const { taskId } of tasks.slice(1)) {
      t.match(await world.call('GET', `/v1/tasks/${taskId}?wait=20`), { body: { status: 'success' } });
    }
  });

  t.test('many may wait for one task', async (t) => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    t.teardown(() => process.off('warning', onWarning));
    const { sessionId } = await world.session();
    const { taskId } = await world.start(sessionId, 'run.python', {
      code: "import os, time\nwhile not os.path.exists('go'): time.sleep(0.01)",
    });
    const waiting = Array.from({ length: 30 }, () => world.call<Task>('GET', `/v1/tasks/${taskId}?wait=20`));
    // Asked after them on the same service, so that they wait.
    t.match(await world.call('GET', `/v1/tasks/${taskId}`), { body: { status: 'running' } });
    await world.submit(sessionId, 'run.python', { code: "open('go', 'w').close()" }, { background: true });
    for (const { body } of await Promise.all(waiting)) t.equal(body.status, 'success');
    t.same(warnings, [], 'nothing takes it for a leak');
  });

  t.test(
    'the same taskId with the same body gives that task back and runs nothing; another body is a conflict',
    async (t) => {
      const { sessionId } = await world.session();
      const body = {
        taskId: 'only-once',
        tool: 'run.python',
        arguments: { code: "open('n', 'a').write('x'); print(1)" },
      };
      const first = await world.call<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=20`, body);
      t.match(first, { status: 200, body: { taskId: 'only-once', status: 'success' } });
      const again = await world.call<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=20`, body);
      t.same(again.body, first.body);
      t.equal(await world.readFile(sessionId, 'n'), 'x');
      t.match(
        await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
          ...body,
          arguments: { code: 'print(2)' },
        }),
        {
          status: 409,
          body: { code: 'TASK_ID_CONFLICT' },
        },
      );
      const other = await world.session();
      t.match(await world.call('POST', `/v1/sessions/${other.sessionId}/tasks`, body), { status: 409 });
    },
  );

  t.test(
    'a full queue refuses with 429 and Retry-After; a queued task can be cancelled and never starts',
    async (t) => {
      const { sessionId } = await world.session();
      const running = await world.submit(sessionId, 'run.python', sleeper(60));
      const queued: Task[] = [];
      for (let n = 0; n < 3; n += 1) queued.push(await world.submit(sessionId, 'run.python', sleeper(60)));
      t.equal(queued[2]!.queuePosition, 3);
      const refused = await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
        tool: 'echo',
        arguments: { message: 'x' },
      });
      t.match(refused, {
        status: 429,
        body: { code: 'TOO_MANY_TASKS', retryable: true, outcome: 'notStarted' },
      });
      t.ok(Number(refused.headers.get('retry-after')) > 0);
      t.match(
        await world.call('POST', `/v1/tasks/${queued[1]!.taskId}/cancel`, { reason: 'changed my mind' }),
        {
          body: {
            cancelled: true,
            task: { status: 'cancelled', startedAt: null, ending: { reason: 'changed my mind' } },
          },
        },
      );
      const events = (await eventsOf(world, sessionId)).filter(
        (e) => 'taskId' in e && e.taskId === queued[1]!.taskId,
      );
      t.same(
        events.map((e) => e.type),
        ['task.queued', 'task.ended'],
      );
      await world.call('POST', `/v1/tasks/${running.taskId}/cancel`);
      await world.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    },
  );

  t.test('stdin reaches a running program, and closing it ends its input', async (t) => {
    const { sessionId } = await world.session();
    const task = await world.submit(sessionId, 'run.python', {
      code: 'import sys\nprint("ready", flush=True)\nfor line in sys.stdin: print("got", line.strip(), flush=True)',
      stdin: 'first\n',
      stdinOpen: true,
    });
    await until(async () => linesIn(await eventsOf(world, sessionId)) > 0);
    const send = (text: string, close = false) =>
      fetch(`${world.url}/v1/tasks/${task.taskId}/stdin?close=${close}`, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: text,
      });
    t.equal((await send('second\n')).status, 204);
    t.equal((await send('third\n', true)).status, 204);
    const ended = await world.call<Task>('GET', `/v1/tasks/${task.taskId}?wait=20`);
    t.equal(ended.body.outputs?.stdout, 'ready\ngot first\ngot second\ngot third\n');
    t.match(await (await send('late')).json(), { code: 'TASK_NOT_RUNNING' });
    const closed = await world.submit(sessionId, 'run.python', {
      code: 'print(repr(input()))',
      stdin: 'x\n',
    });
    t.equal(closed.tool, 'run.python');
    t.match(await world.call('GET', `/v1/tasks/${closed.taskId}?wait=20`), {
      body: { outputs: { stdout: "'x'\n" } },
    });
  });

  t.test('the exact bytes of a stream are under /output/, ranges too', async (t) => {
    const { sessionId } = await world.session();
    const { taskId } = await world.python(
      sessionId,
      'import os; os.write(1, bytes(range(256)) * 4); os.write(2, b"err")',
    );
    const get = async (stream: string, range?: string) => {
      const reply = await fetch(`${world.url}/v1/tasks/${taskId}/output/${stream}`, {
        headers: range ? { range } : {},
      });
      return { status: reply.status, headers: reply.headers, bytes: Buffer.from(await reply.arrayBuffer()) };
    };
    const all = Buffer.concat(
      Array.from({ length: 4 }, () => Buffer.from(Array.from({ length: 256 }, (_, i) => i))),
    );
    t.same((await get('stdout')).bytes, all);
    t.equal((await get('stderr')).bytes.toString(), 'err');
    const part = await get('stdout', 'bytes=250-259');
    t.equal(part.status, 206);
    t.equal(part.headers.get('content-range'), 'bytes 250-259/1024');
    t.same(part.bytes, all.subarray(250, 260));
    t.same((await get('stdout', 'bytes=-3')).bytes, all.subarray(1021));
    t.equal((await get('stdout', 'bytes=1024-')).status, 416);
    t.equal((await get('nosuch')).status, 400);
  });

  t.test(
    'output that came in many pieces is whole in the task, under /output/ and in its ranges',
    async (t) => {
      const { sessionId } = await world.session();
      const code = "import time\nfor n in range(40): print('line', n, flush=True); time.sleep(.025)";
      const task = await world.python(sessionId, code);
      const whole = Array.from({ length: 40 }, (_, n) => `line ${n}\n`).join('');
      t.equal(task.outputs?.stdout, whole);
      const pieces = (await eventsOf(world, sessionId)).filter((e) => e.type === 'task.output');
      t.ok(pieces.length > 16, 'more pieces than are read at once');
      const get = async (range: string) =>
        (await fetch(`${world.url}/v1/tasks/${task.taskId}/output/stdout`, { headers: { range } })).text();
      t.equal(await get('bytes=0-'), whole);
      t.equal(await get('bytes=200-230'), whole.slice(200, 231));
    },
  );

  t.test('more output than allowed ends the task as outputLimit with exactly what fits', async (t) => {
    const { sessionId } = await world.session();
    const task = await world.python(sessionId, 'while True: print("y" * 999)', {
      constraints: { maxOutputBytes: 10_000 },
    });
    t.match(task, { status: 'failure', ending: { cause: 'outputLimit' }, usage: { outputBytes: 10_000 } });
    t.equal(String(task.outputs?.stdout), `${'y'.repeat(999)}\n`.repeat(10));
  });

  t.test('a task that leaves processes behind ends at once and they are gone', async (t) => {
    const { sessionId } = await world.session();
    const task = await world.python(
      sessionId,
      `import os, time
if os.fork() == 0:
    os.setsid()
    while True: time.sleep(.01); open('alive', 'a').write('x')
print('main done')`,
    );
    t.match(task, { status: 'success', outputs: { stdout: 'main done\n' }, ending: { processesKilled: 1 } });
    const sizes = await world.python(
      sessionId,
      `import os, time
size = lambda: os.path.exists('alive') and os.path.getsize('alive')
before = size(); time.sleep(.2); print(size() == before)`,
    );
    t.equal(sizes.outputs?.stdout, 'True\n');
  });

  t.test('a program that cannot be started is spawnFailed, with what to do, and no exit code', async (t) => {
    const { sessionId } = await world.session();
    const plant = `import os
open("plain", "w").write("#!/bin/sh\\n")
open("crlf", "wb").write(b"#!/bin/sh\\r\\n")
os.chmod("crlf", 0o755)`;
    await world.python(sessionId, plant);
    for (const [args, code, message] of [
      [{ command: ['no-such-program'] }, 'ENOENT', /^no-such-program: .*installed.*\.\/run\.sh/],
      [{ command: ['./plain'] }, 'EACCES', /^\.\/plain: .*chmod \+x/],
      [{ command: ['./crlf'] }, 'ENOENT', /^\.\/crlf: .*CR LF/],
      [{ command: ['true'], cwd: 'nowhere' }, 'ENOENT', /'nowhere'.*fs\.mkdir/],
      [{ command: ['true'], cwd: 'plain' }, 'ENOTDIR', /'plain'.*directory below/],
    ] as const) {
      const task = await world.run(sessionId, 'run.command', args);
      t.match(task, {
        status: 'failure',
        ending: { cause: 'spawnFailed', code, message },
        outputs: { exitCode: null },
      });
    }
  });

  t.test('a signal is told apart from an exit code', async (t) => {
    const { sessionId } = await world.session();
    t.match(await world.python(sessionId, 'import os, signal; os.kill(os.getpid(), signal.SIGSEGV)'), {
      status: 'failure',
      ending: { cause: 'signaled', signal: 'SIGSEGV' },
      outputs: { exitCode: null },
    });
    t.match(await world.run(sessionId, 'run.command', { command: 'exit 3' }), {
      ending: { cause: 'exited', exitCode: 3 },
    });
  });

  t.test('lists of tasks can be filtered and leave outputs out', async (t) => {
    const { sessionId } = await world.session();
    await world.run(sessionId, 'echo', { message: 'x' }, { metadata: { kind: 'a' } });
    await world.python(sessionId, 'exit(1)');
    const list = async (query: string) =>
      (await world.call<{ items: Task[] }>('GET', `/v1/sessions/${sessionId}/tasks?${query}`)).body.items.map(
        (task) => task.tool,
      );
    t.same(await list(''), ['run.python', 'echo']);
    t.same(await list('status=success'), ['echo']);
    t.same(await list('tool=run.python,fs.read'), ['run.python']);
    t.same(await list('metadata.kind=a'), ['echo']);
    t.same(await list('limit=1'), ['run.python']);
  });

  t.test('lists of large tasks and sessions come in pages of few bytes, and none is left out', async (t) => {
    const { sessionId } = await world.session();
    const large = 'x'.repeat(1_500_000);
    const made: string[] = [];
    for (let n = 0; n < 8; n += 1) {
      const args = n % 2 ? { path: 'a', contents: large } : { path: 'b', contents: 'small' };
      made.unshift((await world.run(sessionId, 'fs.write', args)).taskId);
    }
    const pages = await allPages<Task>(world, `/v1/sessions/${sessionId}/tasks`);
    t.same(
      pages.flat().map(({ taskId }) => taskId),
      made,
    );
    t.ok(pages.length > 1, 'as its items are large');
    t.ok(JSON.stringify(pages).length < 100_000, 'they are shown shortened');

    const value = large.slice(0, 30_000);
    const env = Object.fromEntries(Array.from({ length: 33 }, (_, n) => [`L${n}`, value]));
    const sessions: string[] = [];
    for (let n = 0; n < 6; n += 1)
      sessions.unshift((await world.session({ env, metadata: { large: 'yes' } })).sessionId);
    const found = await allPages<{ sessionId: string }>(world, '/v1/sessions?metadata.large=yes');
    t.same(
      found.flat().map((each) => each.sessionId),
      sessions,
    );
    t.ok(found.length > 1);

    const labels = Object.fromEntries(Array.from({ length: 60 }, (_, n) => [`l${n}`, '€'.repeat(4096)]));
    const labelled: string[] = [];
    for (let n = 0; n < 7; n += 1) {
      const task = await world.run(sessionId, 'echo', { message: 'm' }, { metadata: labels });
      labelled.unshift(task.taskId);
    }
    const shown = await allPages<Task>(world, `/v1/sessions/${sessionId}/tasks?tool=echo`);
    t.same(
      shown.flat().map(({ taskId }) => taskId),
      labelled,
    );
    t.ok(shown.length > 1, 'labels count as well');
  });

  t.test('arguments are checked by the tool’s schema, with the place of each mistake', async (t) => {
    const { sessionId } = await world.session();
    const refuse = async (body: unknown, where: string) =>
      t.match(
        await world.call('POST', `/v1/sessions/${sessionId}/tasks`, body),
        { status: 400, body: { code: 'VALIDATION_FAILED', errors: [{ where }] } },
        JSON.stringify(body),
      );
    await refuse({ tool: 'echo', arguments: {} }, '/body/arguments/message');
    await refuse({ tool: 'echo', arguments: { message: 1 } }, '/body/arguments/message');
    await refuse({ tool: 'echo', arguments: { message: 'x', extra: 1 } }, '/body/arguments/extra');
    await refuse({ tool: 'run.python', arguments: {} }, '/body/arguments');
    await refuse({ tool: 'run.python', arguments: { code: '1', file: 'x' } }, '/body/arguments');
    await refuse(
      { tool: 'echo', arguments: { message: 'x' }, constraints: { timeoutSeconds: 86_401 } },
      '/body/constraints/timeoutSeconds',
    );
    await refuse(
      { tool: 'pkg.install', arguments: { requirements: ['--pre'] } },
      '/body/arguments/requirements',
    );
    await refuse({ arguments: {} }, '/body/tool');
  });

  t.test('an Idempotency-Key makes a retried submission wait for the same task', async (t) => {
    const { sessionId } = await world.session();
    const body = { tool: 'run.python', arguments: { code: "open('k', 'a').write('x'); print('once')" } };
    const send = () =>
      world.call<Task>('POST', `/v1/sessions/${sessionId}/tasks?wait=20`, body, { 'idempotency-key': 'k1' });
    const first = await send();
    const again = await send();
    t.equal(again.headers.get('idempotency-replayed'), 'true');
    t.equal(again.body.taskId, first.body.taskId);
    t.equal(await world.readFile(sessionId, 'k'), 'x');
    t.match(
      await world.call(
        'POST',
        `/v1/sessions/${sessionId}/tasks`,
        { ...body, background: true },
        { 'idempotency-key': 'k1' },
      ),
      { status: 422, body: { code: 'IDEMPOTENCY_MISMATCH' } },
    );
  });

  t.test('a client that goes away changes nothing', async (t) => {
    const { sessionId } = await world.session();
    const gone = new AbortController();
    const asked = fetch(`${world.url}/v1/sessions/${sessionId}/tasks?wait=30`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        taskId: 'left-alone',
        tool: 'run.python',
        arguments: {
          code: "import os, time\nwhile not os.path.exists('go'): time.sleep(.01)\nprint('done')",
        },
      }),
      signal: gone.signal,
    });
    await until(async () => (await world.call('GET', '/v1/tasks/left-alone')).body.status === 'running');
    gone.abort();
    await t.rejects(asked);
    await world.run(sessionId, 'run.command', { command: ['touch', 'go'] }, { background: true });
    t.match(await world.call('GET', '/v1/tasks/left-alone?wait=30'), {
      body: { status: 'success', outputs: { stdout: 'done\n' } },
    });
  });

  t.test('what does not exist is not found', async (t) => {
    for (const [method, path] of [
      ['GET', '/v1/tasks/nosuch'],
      ['POST', '/v1/tasks/nosuch/cancel'],
      ['GET', '/v1/tasks/nosuch/output/stdout'],
      ['GET', '/v1/tasks/nosuch/events'],
    ] as const) {
      t.match(
        await world.call(method, path, method === 'POST' ? {} : undefined),
        { status: 404, body: { code: 'TASK_NOT_FOUND' } },
        path,
      );
    }
    t.match(await world.call('GET', '/v1/tools/nosuch'), { status: 404, body: { code: 'TOOL_NOT_FOUND' } });
  });

  t.test('tools describe themselves with JSON Schemas', async (t) => {
    const { body } = await world.call<{ items: { name: string; arguments: { type: string } }[] }>(
      'GET',
      '/v1/tools',
    );
    t.same(
      body.items.map((tool) => tool.name),
      [
        'echo',
        'fs.read',
        'fs.write',
        'fs.list',
        'fs.stat',
        'fs.mkdir',
        'fs.move',
        'fs.remove',
        'run.python',
        'run.command',
        'pkg.install',
      ],
    );
    t.ok(body.items.every((tool) => tool.arguments.type === 'object'));
    t.match(await world.call('GET', '/v1/tools/echo'), {
      body: { name: 'echo', arguments: { required: ['message'] } },
    });
  });
});

t.test('a request that waits for a queued task does not hold up the end of the service', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.start(sessionId, 'run.python', { code: 'import time; time.sleep(60)' });
  const { taskId } = await world.submit(sessionId, 'echo', { message: 'later' });
  const waiting = world.call('GET', `/v1/tasks/${taskId}?wait=60`);
  // Comes later on a connection made later: by its answer the other one has arrived.
  await world.call('GET', '/healthz');
  const startedAt = performance.now();
  await world.restart();
  t.match(await waiting, { status: 200, body: { status: 'queued' } });
  t.ok(performance.now() - startedAt < 50_000);
  t.match(await world.call('GET', `/v1/tasks/${taskId}?wait=30`), { body: { status: 'success' } });
});

t.test(
  'a task that was accepted starts after a restart, though the operator allows less since',
  async (t) => {
    const settings: Record<string, string> = {};
    const world = await startService(t, settings);
    const { sessionId } = await world.session();
    await world.start(sessionId, 'run.python', { code: 'import time; time.sleep(60)' });
    const constraints = { timeoutSeconds: 3600, maxOutputBytes: 2_000_000 };
    const { taskId } = await world.submit(sessionId, 'echo', { message: 'later' }, { constraints });
    await world.restart(async () => {
      Object.assign(settings, { MAX_TIMEOUT_SECONDS: '600', DEFAULT_MAX_OUTPUT_BYTES: '1000000' });
      Object.assign(settings, { MAX_MAX_OUTPUT_BYTES: '1000000' });
    });
    t.match(await world.call('GET', `/v1/tasks/${taskId}?wait=30`), {
      body: { status: 'success', constraints },
    });
  },
);

t.test('tasks that are sent together are told different places', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  await world.start(sessionId, 'run.python', { code: 'import time; time.sleep(60)' });
  await Promise.all([1, 2, 3, 4].map((n) => world.submit(sessionId, 'echo', { message: String(n) })));
  const events = await eventsOf(world, sessionId);
  t.same(
    events.flatMap((event) => (event.type === 'task.queued' ? [event.data.position] : [])),
    [0, 0, 1, 2, 3],
  );
});

t.test('of equal submissions that come at once the one that was taken can be waited for', async (t) => {
  const world = await startService(t, { MAX_QUEUED_TASKS: '1000' });
  const { sessionId } = await world.session();
  const blocker = await world.submit(sessionId, 'run.command', { command: 'sleep 600' });
  const path = `/v1/sessions/${sessionId}/tasks`;
  for (let n = 0; n < 100; n += 1) {
    const taskId = `equal-${n}`;
    const body = { taskId, tool: 'echo', arguments: { message: 'm' } };
    const replies = await Promise.all(Array.from({ length: 12 }, () => world.call('POST', path, body)));
    for (const { status } of replies) if (status !== 202) t.equal(status, 202);
    const waiting = world.call<Task>('GET', `/v1/tasks/${taskId}?wait=60`);
    await world.call('POST', `/v1/tasks/${taskId}/cancel`, {});
    const { status } = (await waiting).body;
    if (status !== 'cancelled') t.equal(status, 'cancelled', `round ${n}`);
  }
  t.match(await world.call('POST', `/v1/tasks/${blocker.taskId}/cancel`, {}), { status: 200 });
});

t.test(
  'a stop while sandboxes start leaves what has not begun to the next run, which runs it once',
  async (t) => {
    const world = await startService(t, { MAX_SESSIONS: '12', MAX_RUNNING_TASKS: '12' });
    const sessions = await Promise.all(Array.from({ length: 12 }, () => world.session()));
    const code = 'open("runs", "a").write("ran "); print("done")';
    const tasks = await Promise.all(
      sessions.map(({ sessionId }) => world.submit(sessionId, 'run.python', { code })),
    );
    await world.restart();
    let postponed = 0;
    for (const { taskId, sessionId } of tasks) {
      const { body: task } = await world.call<Task>('GET', `/v1/tasks/${taskId}?wait=60`);
      const { cause } = task.ending!;
      t.ok(['exited', 'interrupted'].includes(cause), `${taskId} ${cause}`);
      if (cause === 'interrupted') t.ok(task.startedAt, 'it had begun');
      if (cause !== 'exited') continue;
      t.equal(await world.readFile(sessionId, 'runs'), 'ran ', taskId);
      const starts = (await eventsOf(world, sessionId)).filter(({ type }) => type === 'task.started');
      t.equal(starts.filter((event) => 'taskId' in event && event.taskId === taskId).length, 1);
      postponed += 1;
    }
    t.ok(postponed > 0);
  },
);

t.test(
  'a session that is deleted while its sandbox starts ends its task at once, and nothing ran',
  async (t) => {
    const world = await startService(t, { MAX_SESSIONS: '12', MAX_RUNNING_TASKS: '12' });
    const sessions = await Promise.all(Array.from({ length: 12 }, () => world.session()));
    const tasks = await Promise.all(
      sessions.map(({ sessionId }) =>
        world.submit(sessionId, 'run.python', { code: 'import time; time.sleep(60)' }),
      ),
    );
    await Promise.all(
      sessions.map(({ sessionId }) => world.call('DELETE', `/v1/sessions/${sessionId}?force=true`)),
    );
    let unbegun = 0;
    for (const { taskId } of tasks) {
      const { body: task } = await world.call<Task>('GET', `/v1/tasks/${taskId}`);
      t.match(task, { status: 'cancelled', ending: { cause: 'sessionEnded' } });
      if (task.startedAt === null) unbegun += 1;
    }
    t.ok(unbegun > 0);
  },
);

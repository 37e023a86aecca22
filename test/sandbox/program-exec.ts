// Programs in a real sandbox: how they start, how they end, and that nothing of them is left.
import t from 'tap';
import {
  FORK_AWAY,
  MIB,
  programsLeft,
  request,
  run,
  sandboxSpec,
  start,
  startDriver,
} from '../helpers/sandboxes.js';

const driver = await startDriver(t);
const sandbox = await driver.create(sandboxSpec({ env: { FROM_SESSION: 'yes' } }));

t.test('output comes as it was written, streams apart', async (t) => {
  const { end, stdout, stderr } = await run(
    sandbox,
    'import sys; print("out"); print("err", file=sys.stderr)',
  );
  t.match(end, { how: { kind: 'exited', exitCode: 0 }, processesKilled: 0 });
  t.ok(end.cpuMs !== undefined && end.peakMemoryBytes !== undefined);
  t.same([stdout, stderr], ['out\n', 'err\n']);
});

t.test(
  'a program has the environment of its session and its own, and nothing else of anybody’s',
  async (t) => {
    const env = { MINE: 'too', HOME: '/workspace/sub' };
    const { stdout } = await run(sandbox, 'import os, json; print(json.dumps(dict(os.environ)))', { env });
    t.same(JSON.parse(stdout), {
      PATH: '/workspace/.venv/bin:/usr/local/bin:/usr/bin:/bin',
      VIRTUAL_ENV: '/workspace/.venv',
      LANG: 'C.UTF-8',
      TMPDIR: '/tmp',
      PYTHONUNBUFFERED: '1',
      FROM_SESSION: 'yes',
      ...env,
    });
    const executed = await run(sandbox, ['env'], { env });
    t.match(executed.stdout, 'MINE=too\n');
  },
);

t.test('standard input can be given, and written while the program runs', async (t) => {
  t.equal((await run(sandbox, ['cat'], { stdin: 'given' })).stdout, 'given');
  const cat = start(sandbox, ['cat'], { stdin: 'a', stdinOpen: true });
  await cat.said('a');
  await cat.exec.writeStdin(Buffer.from('b'), false);
  await cat.said('ab');
  await cat.exec.writeStdin(Buffer.from('c'), true);
  t.equal((await cat.ran).stdout, 'abc');
  await t.rejects(cat.exec.writeStdin(Buffer.from('d'), false));
});

t.test('much input goes through, and input that nobody reads stalls nobody', async (t) => {
  const much = 'x'.repeat(3 * MIB);
  t.equal((await run(sandbox, ['wc', '-c'], { stdin: much })).stdout.trim(), String(much.length));
  t.match((await run(sandbox, ['true'], { stdin: much })).end, { how: { exitCode: 0 } });
  const deaf = start(sandbox, 'import time; print("up", flush=True); time.sleep(60)', { stdinOpen: true });
  await deaf.said('up');
  const stuck = deaf.exec.writeStdin(Buffer.alloc(MIB), false);
  t.equal((await run(sandbox, ['echo', 'others go on'])).stdout, 'others go on\n');
  deaf.exec.end(0);
  await t.rejects(stuck, { message: /ended|reads/ });
});

t.test('code of any length runs', async (t) => {
  const { stdout } = await run(sandbox, `x = "${'y'.repeat(3 * MIB)}"\nprint(len(x))`);
  t.equal(stdout, `${3 * MIB}\n`);
});

t.test('a program that cannot be started is not said to have ended', async (t) => {
  await run(sandbox, [
    'sh',
    '-c',
    'touch plain; printf "#!/no/such\\n" > odd; chmod +x odd; ln -s / out; echo 1 > noshebang; chmod +x noshebang',
  ]);
  const python = (file: string) => ({ kind: 'python' as const, file, args: [] });
  for (const [what, code, made] of [
    [['no-such-program'], 'ENOENT', {}],
    [['./plain'], 'EACCES', {}],
    [['./odd'], 'ENOENT', {}],
    [['/workspace'], 'EACCES', {}],
    [['true'], 'ENOENT', { cwd: 'nowhere' }],
    [['true'], 'ENOTDIR', { cwd: 'plain' }],
    [['true'], 'PATH_OUTSIDE_WORKSPACE', { cwd: '..' }],
    [['true'], 'PATH_OUTSIDE_WORKSPACE', { cwd: 'out/usr' }],
    [['true'], 'PATH_OUTSIDE_WORKSPACE', { cwd: '/usr' }],
    [python('missing.py'), 'ENOENT', {}],
    [python('out/etc/passwd'), 'PATH_OUTSIDE_WORKSPACE', {}],
  ] as const) {
    const { end, stdout, stderr } = await run(sandbox, what, made);
    t.match(end.how, { kind: 'spawnFailed', code }, JSON.stringify(what));
    t.equal(stdout + stderr, '');
  }
  // A directory is run as python3 runs it.
  const { end, stderr } = await run(sandbox, python('.'));
  t.match(end.how, { kind: 'exited', exitCode: 1 });
  t.match(stderr, /can't find '__main__' module in/);
  t.match((await run(sandbox, ['./noshebang'])).end.how, { kind: 'exited', exitCode: 127 }, 'the shell’s');
});

t.test('codes and signals are told exactly', async (t) => {
  t.match((await run(sandbox, ['sh', '-c', 'exit 41'])).end.how, { kind: 'exited', exitCode: 41 });
  t.match((await run(sandbox, ['sh', '-c', 'kill -USR2 $$'])).end.how, {
    kind: 'signaled',
    signal: 'SIGUSR2',
  });
  // SIGPIPE has its usual effect on programs.
  t.match((await run(sandbox, ['sh', '-c', '(yes; echo $? >&2) | head -1'])).stderr, '141\n');
});

t.test('what a program leaves behind is killed at once, and counted', async (t) => {
  const began = performance.now();
  const { end, stdout } = await run(sandbox, `${FORK_AWAY}\nprint("done")`);
  t.match(end, { how: { kind: 'exited', exitCode: 0 }, processesKilled: 3 });
  t.equal(stdout, 'done\n');
  t.ok(performance.now() - began < 10_000);
  t.equal(await programsLeft(sandbox), 0);
});

t.test('SIGTERM is for the main process, and SIGKILL for everything, after the grace', async (t) => {
  const polite = start(
    sandbox,
    'import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(7))\nprint("up", flush=True)\ntime.sleep(60)',
  );
  await polite.said('up');
  polite.exec.end(60_000);
  t.match((await polite.ran).end, { how: { kind: 'exited', exitCode: 7 }, processesKilled: 0 });

  const plain = start(sandbox, 'import time; print("up", flush=True); time.sleep(60)');
  await plain.said('up');
  plain.exec.end(60_000);
  t.match((await plain.ran).end, { how: { kind: 'signaled', signal: 'SIGTERM' }, processesKilled: 1 });

  const deaf = start(
    sandbox,
    `${FORK_AWAY}\nfor s in (1, 2, 3, 15): signal.signal(s, signal.SIG_IGN)\nprint("up", flush=True)\ntime.sleep(60)`,
  );
  await deaf.said('up');
  deaf.exec.end(30);
  t.match((await deaf.ran).end, { how: { kind: 'signaled', signal: 'SIGKILL' }, processesKilled: 4 });
  t.equal(await programsLeft(sandbox), 0);
});

t.test('a stopped program, and one that stops its parents, can be ended', async (t) => {
  for (const code of [
    'import os, signal\nprint("up", flush=True)\nos.kill(os.getpid(), signal.SIGSTOP)',
    'import os, signal, time\nfor p in (1, os.getppid()):\n    for s in (19, 9, 15, 10, 12):\n        try: os.kill(p, s)\n        except OSError: pass\nprint("up", flush=True); time.sleep(60)',
  ]) {
    const it = start(sandbox, code);
    await it.said('up');
    it.exec.end(20);
    t.match((await it.ran).end.processesKilled, 1);
  }
});

t.test('one process is counted once, whichever of SIGTERM and SIGKILL was faster', async (t) => {
  for (let graceMs = 0; graceMs < 20; graceMs += 1) {
    const it = start(sandbox, 'import time; print("up", flush=True); time.sleep(60)');
    await it.said('up');
    it.exec.end(graceMs);
    t.equal((await it.ran).end.processesKilled, 1, `${graceMs} ms`);
  }
});

t.test('a fork bomb ends when it is told to', async (t) => {
  const bomb = start(
    sandbox,
    'import os\nprint("up", flush=True)\nwhile True:\n    try: os.fork()\n    except OSError: pass',
  );
  await bomb.said('up');
  bomb.exec.end(100);
  const { end } = await bomb.ran;
  t.equal(end.how.kind, 'signaled');
  t.ok(end.processesKilled >= 1);
  t.equal((await run(sandbox, ['echo', 'next'])).stdout, 'next\n');
});

t.test(
  'somebody else who holds the pipe does not delay an end, and cannot lengthen the output',
  async (t) => {
    const holder = start(
      sandbox,
      [
        'import socket, array, os, time',
        's = socket.socket(socket.AF_UNIX); s.bind("/workspace/s"); s.listen()',
        'print("up", flush=True)',
        'c, _ = s.accept(); m, a, *_ = c.recvmsg(1, 64); fd = array.array("i", a[0][2])[0]',
        'os.set_blocking(fd, False)',
        'print("got it", flush=True)',
        'while True:',
        '    try: os.write(fd, b"x" * 100)',
        '    except BlockingIOError: time.sleep(.001)',
        '    except BrokenPipeError: print("broken", flush=True); time.sleep(60)',
      ].join('\n'),
    );
    await holder.said('up');
    const began = performance.now();
    const { end } = await run(
      sandbox,
      'import socket, array; s = socket.socket(socket.AF_UNIX); s.connect("/workspace/s"); s.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [1]))]); import time; time.sleep(.05); print("end")',
    );
    t.match(end.how, { kind: 'exited', exitCode: 0 });
    t.ok(performance.now() - began < 10_000);
    await holder.said('broken');
    holder.exec.end(0);
    await holder.ran;
  },
);

t.test('a reader that waits holds the program back, and loses nothing', async (t) => {
  let received = 0;
  let calls = 0;
  const exec = sandbox.exec(
    request('import sys\nfor i in range(64): sys.stdout.write("y" * 65536)'),
    async (_stream, chunk) => {
      received += chunk.length;
      calls += 1;
      await new Promise((resolve) => setTimeout(resolve, calls % 8 === 0 ? 5 : 0));
    },
  );
  t.match((await exec.ended).how, { kind: 'exited', exitCode: 0 });
  t.equal(received, 64 * 65_536);
});

t.test('several programs run at once', async (t) => {
  const code = (me: number) =>
    `import os, time\nopen("here${me}", "w").close()\nwhile not all(os.path.exists(f"here{i}") for i in range(4)): time.sleep(.005)\nprint(${me})`;
  const all = await Promise.all([0, 1, 2, 3].map((me) => run(sandbox, code(me))));
  t.same(
    all.map(({ stdout }) => stdout),
    ['0\n', '1\n', '2\n', '3\n'],
  );
});

t.test('programs of one sandbox see neither each other nor each other’s /tmp', async (t) => {
  const first = start(
    sandbox,
    'open("/tmp/mine", "w").close(); open("/dev/shm/mine", "w").close(); print("up", flush=True); import time; time.sleep(60)',
  );
  await first.said('up');
  const { stdout } = await run(
    sandbox,
    'import os; print([p for p in os.listdir("/proc") if p.isdigit()], os.listdir("/tmp"), os.listdir("/dev/shm"))',
  );
  t.equal(stdout, "['1', '2'] [] []\n");
  first.exec.end(0);
  await first.ran;
});

t.test('a file beyond the disk limit cannot be written', async (t) => {
  const { stdout } = await run(
    sandbox,
    'try:\n    with open("big", "wb") as f: f.truncate(65 << 20)\nexcept OSError as e: print(e.strerror)\nimport os; os.unlink("big")',
  );
  t.equal(stdout, 'File too large\n');
  const { end } = await run(sandbox, ['dd', 'if=/dev/zero', 'of=big2', 'bs=1', 'count=1', 'seek=70000000']);
  t.match(end, { how: { kind: 'signaled', signal: 'SIGXFSZ' }, limit: 'diskLimit' });
  await run(sandbox, ['rm', '-f', 'big2']);
});

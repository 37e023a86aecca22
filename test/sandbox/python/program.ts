// What the warm interpreter has beyond what `python3` has, and what a sandbox adds; as-python3.ts compares the two.
import t from 'tap';
import { run, sandboxSpec, start, startDriver } from '../../helpers/sandboxes.js';
import { until } from '../../helpers/world.js';

const driver = await startDriver(t);
const sandbox = await driver.create(sandboxSpec());

t.test('a traceback shows the lines of the code, and no frame of ours', async (t) => {
  const { stderr } = await run(sandbox, 'def f():\n    return 1/0\n\nf()');
  t.equal(
    stderr,
    [
      'Traceback (most recent call last):',
      '  File "<string>", line 4, in <module>',
      '    f()',
      '  File "<string>", line 2, in f',
      '    return 1/0',
      '           ~^~',
      'ZeroDivisionError: division by zero',
      '',
    ].join('\n'),
  );
});

t.test('stdout is a pipe that can be opened again', async (t) => {
  const { stdout } = await run(sandbox, 'open("/dev/stdout","w").write("dev\\n")');
  t.equal(stdout, 'dev\n');
});

t.test('a program has its three streams open, and nothing of ours', async (t) => {
  const { stdout } = await run(sandbox, 'import os; print(sorted(os.listdir("/proc/self/fd"))[:-1])');
  t.equal(stdout, "['0', '1', '2']\n");
  const { stdout: executed } = await run(sandbox, ['ls', '/proc/self/fd']);
  t.equal(executed, '0\n1\n2\n3\n');
});

t.test('a file runs with its own name, arguments and folder', async (t) => {
  const show = 'import sys, helper; print(__file__, sys.argv, sys.path[0], helper.x, __name__)';
  await run(
    sandbox,
    `import os; os.makedirs("sub", exist_ok=True); open("sub/helper.py","w").write("x = 5"); open("sub/main.py","w").write(${JSON.stringify(show)})`,
  );
  const here = await run(sandbox, { kind: 'python', file: 'sub/main.py', args: ['a', 'b'] });
  t.equal(here.stdout, "/workspace/sub/main.py ['sub/main.py', 'a', 'b'] /workspace/sub 5 __main__\n");
  const there = await run(sandbox, { kind: 'python', file: 'sub/main.py', args: [] }, { cwd: 'sub' });
  t.equal(there.stdout, "/workspace/sub/main.py ['/workspace/sub/main.py'] /workspace/sub 5 __main__\n");
});

t.test('a traceback of a file names it and shows its lines', async (t) => {
  await run(sandbox, 'open("fails.py","w").write("x = 1\\nraise ValueError(x)\\n")');
  const { stderr } = await run(sandbox, { kind: 'python', file: 'fails.py', args: [] });
  t.match(stderr, 'File "/workspace/fails.py", line 2, in <module>\n    raise ValueError(x)\nValueError: 1');
});

t.test('modules named like ours can be imported from the workspace', async (t) => {
  for (const name of ['agent', 'program', 'loaded', 'keeper', 'confine', 'files', 'paths', 'walk']) {
    await run(sandbox, `open("${name}.py","w").write("mine = True")`);
    const { stdout } = await run(sandbox, `import ${name}; print(${name}.mine)`);
    t.equal(stdout, 'True\n', name);
  }
});

t.test('what was installed a moment ago can be imported, and its .pth files work', async (t) => {
  await run(
    sandbox,
    'import sys; d = sys.prefix + "/lib/python%d.%d/site-packages/" % sys.version_info[:2]; open(d + "fresh.py","w").write("x = 7"); open(d + "some.pth","w").write("import sys; sys.from_pth = 8\\n")',
  );
  const { stdout } = await run(sandbox, 'import fresh, sys; print(fresh.x, sys.from_pth, sys.executable)');
  t.equal(stdout, '7 8 /workspace/.venv/bin/python3\n');
});

t.test('what a .pth file runs meets nothing of ours, and cannot tell how its program ended', async (t) => {
  const forge = `
import os, sys, __main__
sys.met = sorted(set(vars(__main__)) - set(vars(type(sys)("x")))), sys.argv, sys.orig_argv
sys.told = []
for fd in range(3, 64):
    try: sys.told.append(os.write(fd, b'{"end": {"exitCode": 0, "signal": null, "killed": 0}}\\n'))
    except OSError: pass
`;
  const line = `import sys; exec(${JSON.stringify(forge)})\n`;
  const folder = 'sys.prefix + "/lib/python%d.%d/site-packages/" % sys.version_info[:2]';
  await run(sandbox, `import sys; open(${folder} + "sly.pth", "w").write(${JSON.stringify(line)})`);
  const ended = await run(sandbox, 'import sys; print(sys.told, sys.met); sys.exit(3)');
  await run(sandbox, `import os, sys; os.remove(${folder} + "sly.pth")`);
  const code = 'import sys; print(sys.told, sys.met); sys.exit(3)';
  const argv = `['-c'], ['python3', '-c', '${code}']`;
  t.match(ended, {
    stdout: `[] (['__annotations__', '__builtins__'], ${argv})\n`,
    end: { how: { exitCode: 3 } },
  });
});

t.test('what one program imports is loaded for those that follow', async (t) => {
  const fresh = await driver.create(sandboxSpec());
  // What was there before is not among what the collector looks at.
  const loaded = () =>
    run(
      fresh,
      'import gc; print([not any(each is it for each in gc.get_objects()) for it in map(__import__, ("json", "decimal", "wave"))])',
    );
  await until(async () => (await loaded()).stdout.startsWith('[True'));
  t.equal((await loaded()).stdout, '[True, False, False]\n');
  t.equal((await run(fresh, 'import wave, decimal; print(decimal.Decimal(1))')).stdout, '1\n');
  await until(async () => (await loaded()).stdout === '[True, True, False]\n');
  t.equal((await loaded()).stdout, '[True, True, False]\n', 'and nothing else is');
});

t.test('a module of the session’s own is found first, whatever was loaded before', async (t) => {
  const fresh = await driver.create(sandboxSpec());
  await run(
    fresh,
    `import os
os.makedirs("own/textwrap"); os.makedirs("json")
for name in ("csv.py", "own/random.py", "own/textwrap/__init__.py", "path/uuid.py"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("mine = True")
open("json/data.json", "w").write("{}")
open("own/main.py", "w").write("import csv, random, textwrap, json; print(random.mine, textwrap.mine, hasattr(csv, 'mine'), json.loads('1'))")`,
  );
  const all = async () => [
    (await run(fresh, 'import csv, json, random; print(csv.mine, json.dumps(1), hasattr(random, "mine"))'))
      .stdout,
    (await run(fresh, 'import uuid; print(uuid.mine)', { env: { PYTHONPATH: 'path' } })).stdout,
    (await run(fresh, { kind: 'python', file: 'own/main.py', args: [] })).stdout,
  ];
  const right = ['True 1 False\n', 'True\n', 'True True False 1\n'];
  t.same(await all(), right);
  const load = 'import sys, csv, textwrap, uuid, decimal';
  await run(fresh, load);
  const isLoaded =
    'import gc; it = __import__("decimal"); print(not any(each is it for each in gc.get_objects()))';
  await until(async () => (await run(fresh, isLoaded)).stdout === 'True\n');
  t.same(await all(), right, 'and after they have been loaded');
});

t.test('what a program does to itself does not change how its end is told', async (t) => {
  for (const [code, exitCode] of [
    ['import sys; del sys.modules["__main__"]; sys.exit(4)', 4],
    ['import sys; sys.modules["__main__"] = str; sys.exit(5)', 5],
    ['open("threading.py", "w").write("")\nimport threading; import sys; sys.exit(6)', 6],
    [
      'open("traceback.py", "w").write("")\nopen("linecache.py", "w").write("")\nimport traceback, linecache; 1 / 0',
      1,
    ],
  ] as const) {
    const { end, stderr } = await run(sandbox, code);
    t.match(end.how, { exitCode }, `${code}: ${stderr}`);
    if (exitCode === 1) t.match(stderr, 'ZeroDivisionError');
  }
  await run(
    sandbox,
    'import os; [os.remove(f"{name}.py") for name in ("threading", "traceback", "linecache")]',
  );
});

t.test('the collector knows what the main module holds, and TZ is the time zone', async (t) => {
  t.equal((await run(sandbox, 'import gc; x = []; print(len(gc.get_referrers(x)))')).stdout, '1\n');
  const env = { TZ: 'Asia/Tokyo' };
  t.equal((await run(sandbox, 'import time; print(time.tzname[0])', { env })).stdout, 'JST\n');
});

t.test('what is loaded before a program gives no two programs the same random numbers', async (t) => {
  const fresh = await driver.create(sandboxSpec());
  const modules = 'random, secrets, ssl, tempfile, urllib.request, uuid';
  const draw = `
import ${modules}, gc
print(not any(each in (random, tempfile, urllib.request, uuid) for each in gc.get_objects() if type(each) is type(gc)))
print(random.random(), random.SystemRandom().random(), secrets.token_hex(8), ssl.RAND_bytes(8).hex(),
  uuid.uuid4(), next(tempfile._get_candidate_names()), sep="\\n")`;
  const drawn = async () => (await run(fresh, draw)).stdout.trim().split('\n');
  await until(async () => (await drawn())[0] === 'True');
  const numbers = [...(await drawn()).slice(1), ...(await drawn()).slice(1), ...(await drawn()).slice(1)];
  t.equal(numbers.length, 18);
  t.equal(new Set(numbers).size, 18, `${numbers}`);
});

t.test('PYTHONPATH and PYTHONUNBUFFERED mean what they mean to python3', async (t) => {
  await run(sandbox, 'import os; os.makedirs("lib", exist_ok=True); open("lib/inlib.py","w").write("x = 9")');
  const env = { PYTHONPATH: 'lib', PYTHONUNBUFFERED: '1' };
  const { stdout } = await run(sandbox, 'import inlib, os; print(inlib.x); os._exit(0)', { env });
  t.equal(stdout, '9\n');
});

t.test('what a Python prints is there at once, and when it is killed, whoever starts it', async (t) => {
  const code = 'import time\nprint("step 1", end="")\ntime.sleep(600)';
  for (const program of [code, ['python3', '-c', code], ['sh', '-c', `python3 -c '${code}'; true`]]) {
    const { exec, said, ran } = start(sandbox, program);
    await said('step 1');
    exec.end(0);
    t.equal((await ran).stdout, 'step 1');
  }
});

t.test('what fails before a program starts is no exit code', async (t) => {
  for (const [program, changes] of [
    [{ kind: 'python', code: '1', args: ['\ud83d'] }, {}],
    ['1', { env: { X: '\ud83d' } }],
    ['"\ud83d"', {}],
    ['"\0"', {}],
  ] as const) {
    t.match((await run(sandbox, program, changes)).end.how, { kind: 'spawnFailed' });
  }
});

// Python code in the warm interpreter means what it means to `python3 -c`.
import { spawn } from 'node:child_process';
import { buffer } from 'node:stream/consumers';
import t from 'tap';
import { run, sandboxSpec, startDriver } from '../../helpers/sandboxes.js';
import { until } from '../../helpers/world.js';

const PROGRAMS: Readonly<Record<string, string>> = {
  'names of the main module': 'print(__name__, sorted(k for k in globals() if k.startswith("__")))',
  arguments: 'import sys; print(sys.argv, sys.path[0])',
  'exit code': 'import sys; sys.exit(3)',
  'exit with words': 'raise SystemExit("bye")',
  'exit with a tuple': 'raise SystemExit((1, 2))',
  'exit with True': 'raise SystemExit(True)',
  'exit code beyond a byte': 'raise SystemExit(256)',
  'exit code beyond any integer': 'raise SystemExit(2**70)',
  'negative exit code': 'raise SystemExit(-1)',
  'exit()': 'exit(4)',
  'os._exit loses what is buffered': 'import os; print("lost"); os._exit(7)',
  atexit: 'import atexit; atexit.register(lambda: print("atexit ran")); print("x")',
  'atexit that fails': 'import atexit; atexit.register(lambda: 1/0); print("x")',
  'a thread outlives the main code':
    'import threading,time\ndef g():\n    time.sleep(.05); print("thread done")\nthreading.Thread(target=g).start(); print("main done")',
  'a daemon thread does not':
    'import threading,time\nthreading.Thread(target=lambda:time.sleep(5),daemon=True).start(); print("ok")',
  'open files are flushed at the end':
    'import os\nr,w=os.pipe()\nif os.fork():\n    os.close(w); os.wait(); print(os.read(r,99))\nelse:\n    f=os.fdopen(w,"w"); f.write("buffered")',
  '__del__ at the end': 'class A:\n    def __del__(self): print("gone")\na = A()\nprint("end")',
  input: 'print(repr(input("p>")), repr(input()))',
  'the end of input': 'import sys; sys.stdin.read()\ninput()',
  'reading all input': 'import sys; print(repr(sys.stdin.read()))',
  buffering: 'import os\nprint("a");os.write(1,b"b\\n");print("c")',
  SIGTERM: 'import os,signal\nos.kill(os.getpid(),signal.SIGTERM)',
  abort: 'import os; os.abort()',
  'a segmentation fault': 'import ctypes; ctypes.string_at(0)',
  'an unhandled SIGINT ends by that signal':
    'import os,signal,sys\nsys.excepthook=lambda *_: None\nos.kill(os.getpid(),signal.SIGINT)\nimport time; time.sleep(1)',
  'multiprocessing by fork':
    'import multiprocessing as mp\ndef f(x): return x*x\nif __name__=="__main__":\n    with mp.get_context("fork").Pool(2) as p: print(p.map(f,[1,2,3]))',
  'multiprocessing by spawn':
    'import multiprocessing as mp\nif __name__=="__main__":\n    with mp.get_context("spawn").Pool(2) as p: print(p.map(abs,[-1,2]))',
  'a child of multiprocessing is joined at the end':
    'import multiprocessing as mp\ne = mp.Event()\ndef g(): e.wait(); print("child done", flush=True)\nmp.Process(target=g).start(); print("main done", flush=True); e.set()',
  'process pools':
    'import concurrent.futures as c\ndef f(x): return x+1\nwith c.ProcessPoolExecutor(2) as e: print(list(e.map(f,[1,2])))',
  'thread pools': 'import concurrent.futures as c\nprint(list(c.ThreadPoolExecutor(2).map(abs,[-1,2])))',
  'asyncio and a subprocess':
    'import asyncio\nasync def m():\n    p=await asyncio.create_subprocess_exec("/bin/echo","hi",stdout=-1); print((await p.communicate())[0])\nasyncio.run(m())',
  'pickling a class of the main module':
    'import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))))',
  'kinds of streams':
    'import sys\nfor f in (sys.stdin, sys.stdout, sys.stderr): print(f.isatty(), f.encoding, f.line_buffering, f.errors, f.name, f.mode, f.fileno(), f is getattr(sys, "__" + f.name[1:-1] + "__"))',
  'an exception in __del__': 'class A:\n    def __del__(self): raise ValueError("x")\na=A(); del a',
  'a surrogate on stdout': 'print("\\udc80")',
  'closing stdout': 'import sys; sys.stdout.close()',
  'no stdout': 'import sys; sys.stdout = None; print("x")',
  'recursion without end': 'def f(): f()\ntry: f()\nexcept RecursionError as e: print(e)',
  'signal handlers':
    'import signal; print(signal.pthread_sigmask(signal.SIG_BLOCK,[]), *[signal.getsignal(s) for s in (2, 15, 17, 13, 25)])',
  'an excepthook': 'import sys; sys.excepthook = lambda *a: print("hook", a[0].__name__); 1/0',
  'an excepthook that exits': 'import sys\ndef h(*a): sys.exit(9)\nsys.excepthook = h\n1/0',
  'stdout whose reader is gone':
    'import os,sys\nr,w=os.pipe(); os.dup2(w,1); os.close(w); os.close(r); print("x"); sys.stderr=None',
  'writing beyond a closed descriptor': 'import os; os.close(1); print("x")',
  'the future stays out': 'def f(x: undefined): pass',
  'forking and falling off the end':
    'import os\npid=os.fork()\nprint("child" if pid==0 else os.wait()[1], flush=True)',
  'exit code of a forked child':
    'import os,sys\nif os.fork()==0: sys.exit(5)\nprint(os.waitstatus_to_exitcode(os.wait()[1]))',
  warnings:
    'import warnings; warnings.simplefilter("error")\ntry: warnings.warn("w")\nexcept UserWarning as w: print("raised", w)',
};

/** Tracebacks of code that is in no file show its lines here, which `python3 -c` cannot: otherwise they are alike. */
const TRACEBACKS: Readonly<Record<string, string>> = {
  'an exception': 'def f():\n    return 1/0\n\nf()',
  'a syntax error': 'def f(:\n  pass',
  'a chain of exceptions': 'try:\n    1/0\nexcept Exception as e:\n    raise ValueError("b") from e',
  'an exception group': 'raise ExceptionGroup("g",[ValueError(1)])',
  'a module that does not exist': 'import nothing_of_this_name',
  'an exception in a thread':
    'import threading\ndef g(): raise ValueError("t")\nx=threading.Thread(target=g, name="n");x.start();x.join()',
  'an unhandled KeyboardInterrupt': 'raise KeyboardInterrupt',
  'an excepthook that fails': 'import sys\ndef h(*a): raise ValueError("in hook")\nsys.excepthook = h\n1/0',
};

const INPUT = 'line1\nline2\n';
const ENV = { PATH: '/usr/bin:/bin', HOME: '/', LANG: 'C.UTF-8' };

async function real(code: string) {
  const child = spawn('/usr/bin/python3', ['-s', '-c', code], { env: ENV, cwd: '/' });
  child.stdin.on('error', () => {});
  child.stdin.end(INPUT);
  const ended = new Promise<{ code: number | null; signal: string | null }>((resolve) => {
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
  const [stdout, stderr, end] = await Promise.all([buffer(child.stdout), buffer(child.stderr), ended]);
  return { ...end, stdout: String(stdout), stderr: String(stderr) };
}

const driver = await startDriver(t);
const sandbox = await driver.create(sandboxSpec());

async function warm(code: string) {
  const { end, stdout, stderr } = await run(sandbox, code, { stdin: INPUT });
  return {
    code: end.how.kind === 'exited' ? end.how.exitCode : null,
    signal: end.how.kind === 'signaled' ? end.how.signal : null,
    stdout,
    stderr,
  };
}

for (const [what, code] of Object.entries({ ...PROGRAMS, ...TRACEBACKS })) {
  t.test(`as in python3 -c: ${what}`, async (t) => {
    const [expected, seen] = await Promise.all([real(code), warm(code)]);
    t.same(
      { ...seen, stderr: comparable(seen.stderr) },
      { ...expected, stderr: comparable(expected.stderr) },
    );
  });
}

/** Without addresses, and without the source lines of tracebacks, which only we can show for code in no file. */
function comparable(stderr: string): string {
  return stderr
    .replaceAll(/0x[0-9a-f]+/g, '0x')
    .replaceAll(/(File "<string>", line \d+, in .*\n)(?: {4}\S.*\n(?: +[~^]+\n)?)?/g, '$1')
    .replaceAll(/^( *\| +File "<string>".*\n)(?: *\| {5,}.*\n)*/gm, '$1');
}

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
  t.equal(stdout, '7 8 /workspace/.venv/bin/python\n');
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
  const loaded = () =>
    run(fresh, 'import sys; print([name in sys.modules for name in ("json", "decimal", "wave")])');
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
for name in ("csv.py", "own/random.py", "own/textwrap/__init__.py", "path/uuid.py", "own/collections.py"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("mine = True")
open("json/data.json", "w").write("{}")
open("own/main.py", "w").write("import csv, random, textwrap, json, collections; print(random.mine and collections.mine, textwrap.mine, hasattr(csv, 'mine'), json.loads('1'))")`,
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
  await until(
    async () => (await run(fresh, 'import sys; print("decimal" in sys.modules)')).stdout === 'True\n',
  );
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
    t.match(stderr, exitCode === 1 ? 'ZeroDivisionError' : /^$/);
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
import sys
print(all(name in sys.modules for name in ("random", "tempfile", "urllib.request", "uuid")))
import ${modules}
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

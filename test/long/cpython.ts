// CPython's own tests give the same results in a session as outside, apart from a written list of explained
// differences (`cpython.json`): each names tests by the beginning of their names, and says why.
import { execFile } from 'node:child_process';
import {
  chownSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import t from 'tap';
import { ORDINARY_UID } from '../helpers/hosts.js';
import { startService } from '../helpers/world.js';

interface Choice {
  readonly modules: readonly string[];
  readonly differences: readonly { readonly tests: readonly string[]; readonly why: string }[];
}

const choice: Choice = JSON.parse(
  readFileSync(fileURLToPath(new URL('../../../test/long/cpython.json', import.meta.url)), 'utf8'),
);

/** Runs one module and says of each test how it ended; the last line is what counts. */
const program = (module: string) => `
import json, os, sys, tempfile, unittest
os.chdir(tempfile.mkdtemp())
class Outcomes(unittest.TestResult):
    def __init__(self):
        super().__init__()
        self.outcomes = {}
    def note(self, test, outcome):
        self.outcomes[test.id()] = outcome
    def addSuccess(self, test): self.outcomes.setdefault(test.id(), "ok")
    def addFailure(self, test, error): self.note(test, "failed")
    def addError(self, test, error): self.note(test, "failed")
    def addSkip(self, test, reason): self.note(test, "skipped")
    def addExpectedFailure(self, test, error): self.note(test, "ok")
    def addUnexpectedSuccess(self, test): self.note(test, "failed")
    def addSubTest(self, test, subtest, error):
        if error: self.note(test, "failed")
said, sys.stdout = sys.stdout, open(os.devnull, "w")
result = Outcomes()
unittest.defaultTestLoader.loadTestsFromName("test.${module}").run(result)
sys.stdout = said
print("\\n" + json.dumps(result.outcomes))
`;

const lastLine = (stdout: string): Record<string, string> => {
  try {
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '');
  } catch {
    return { '(the module)': 'no result' };
  }
};

/** As an ordinary user in a directory of its own and in a virtual environment, as it is in a session: without that, what
 *  Debian has installed on this host beside its Python (numpy, say) lets more tests run. */
async function outside(module: string): Promise<Record<string, string>> {
  const home = mkdtempSync(join(tmpdir(), 'cpython-'));
  mkdirSync(join(home, '.venv/bin'), { recursive: true });
  symlinkSync('/usr/bin/python3', join(home, '.venv/bin/python3'));
  writeFileSync(join(home, '.venv/pyvenv.cfg'), 'home = /usr/bin\ninclude-system-site-packages = false\n');
  const isRoot = process.getuid!() === 0;
  if (isRoot) chownSync(home, ORDINARY_UID, ORDINARY_UID);
  const drop = isRoot
    ? ['setpriv', '--reuid', `${ORDINARY_UID}`, '--regid', `${ORDINARY_UID}`, '--clear-groups']
    : [];
  const [command, ...args] = [...drop, join(home, '.venv/bin/python3'), '-c', program(module)];
  const env = { PATH: '/usr/local/bin:/usr/bin:/bin', HOME: home, TMPDIR: home, LANG: 'C.UTF-8' };
  try {
    const { stdout } = await promisify(execFile)(command!, args, {
      cwd: home,
      env,
      maxBuffer: 64 << 20,
      timeout: 300_000,
    });
    return lastLine(stdout);
  } catch (error) {
    return lastLine((error as { stdout?: string }).stdout ?? '');
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

const hasSuite =
  existsSync('/usr/lib/python3.11/test/test_json') || existsSync('/usr/lib/python3.11/test/test_bisect.py');
const skip = hasSuite ? false : 'needs libpython3.11-testsuite';

t.test('CPython’s own tests give the same results in a session', { skip }, async (t) => {
  t.ok(choice.modules.length >= 60);
  const world = await startService(t, { MAX_OPEN_FILES: '1024' });
  const { sessionId } = await world.session({
    limits: { memoryMb: 2048, maxProcesses: 512 },
    concurrency: 2,
  });
  const explained = choice.differences.flatMap(({ tests }) => tests);
  const met = new Set<string>();
  for (const module of choice.modules) {
    const [there, task] = await Promise.all([
      outside(module),
      world.python(sessionId, program(module), { constraints: { timeoutSeconds: 300 } }),
    ]);
    const here = lastLine(String(task.outputs?.stdout ?? ''));
    const differing = [...new Set([...Object.keys(there), ...Object.keys(here)])]
      .filter((test) => there[test] !== here[test])
      .map((test) => `${module} ${test}: outside ${there[test]}, inside ${here[test]}`);
    const unexplained = differing.filter((line) => {
      const known = explained.find((each) => line.startsWith(each));
      if (known) met.add(known);
      return !known;
    });
    t.same(unexplained, [], `${module}: ${Object.keys(here).length} tests`);
  }
  // What differs depends on the host as well (which tools it has), so an explanation that was not needed is no failure.
  t.comment(`not met here: ${explained.filter((each) => !met.has(each)).join(', ') || 'nothing'}`);
});

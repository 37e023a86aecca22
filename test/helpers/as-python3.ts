// Programs that are run by the warm interpreter, as code and as a file, twice each, and by `python3` of the same session.
// What each does and leaves behind must be the same, apart from a written list of differences.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import { type Ran, run } from './sandboxes.js';

const FIXTURES = fileURLToPath(new URL('../../../test/fixtures/python3/', import.meta.url));

interface Given {
  readonly stdin?: string;
  readonly args?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface PythonProgram extends Given {
  readonly title: string;
  readonly code: string;
}

export interface Difference {
  readonly programs: readonly string[];
  /** "code", "file", or both when it is not there. */
  readonly as?: 'code' | 'file';
  readonly why: string;
}

/** All of them, by kind: `### title {what is given}` and the code, over and over. */
export function pythonPrograms(): PythonProgram[] {
  return readdirSync(FIXTURES)
    .filter((name) => name.endsWith('.txt'))
    .flatMap((name) => {
      const kind = name.slice(0, -4);
      const [, ...parts] = `\n${readFileSync(FIXTURES + name, 'utf8')}`.split('\n### ');
      return parts.map((part) => {
        const [, title, given] = /^(.*?)(?: (\{.*\}))?$/m.exec(part)!;
        const code = part.slice(part.indexOf('\n') + 1).replace(/\n$/, '');
        return { ...(given ? JSON.parse(given) : {}), title: `${kind}: ${title}`, code };
      });
    });
}

export const knownDifferences = (): Difference[] =>
  JSON.parse(readFileSync(`${FIXTURES}differences.json`, 'utf8'));

const WAYS = ['cr', 'c1', 'c2', 'fr', 'f1', 'f2'] as const;
const KINDS = ['code', 'file'] as const;

const LAY_OUT = `
import json, os, sys
for number, code in enumerate(json.load(sys.stdin)):
    for way in ${JSON.stringify(WAYS)}:
        os.makedirs(f"w/{number}/{way}")
        with open(f"w/{number}/{way}/main.py", "w") as file: file.write(code)
`;

const LOOK = `
import hashlib, json, os
found = {}
for folder, folders, files in os.walk("w"):
    folders[:] = [name for name in folders if name != "__pycache__"]
    for name in files:
        if name != "main.py":
            _, number, way, *rest = folder.split("/")
            with open(f"{folder}/{name}", "rb") as file:
                found.setdefault(number, {}).setdefault(way, {})["/".join([*rest, name])] = hashlib.sha256(file.read()).hexdigest()
print(json.dumps(found))
`;

/** Runs `programs`, a few side by side, and tells of each whether it did as in python3. */
export async function compareWithPython3(
  t: Test,
  sandbox: Sandbox,
  programs: readonly PythonProgram[],
  options: {
    readonly atOnce: number;
    readonly differences: readonly Difference[];
    /** Each as code or as a file in turn, and not as both: takes half as long. */
    readonly inTurn: boolean;
  },
): Promise<void> {
  const kinds = (n: number) => (options.inTurn ? [KINDS[n % 2]!] : KINDS);
  const waysOf = (n: number) => WAYS.filter((way) => kinds(n).some((kind) => kind[0] === way[0]));
  const { end, stderr } = await run(sandbox, LAY_OUT, {
    stdin: JSON.stringify(programs.map(({ code }) => code)),
  });
  t.match(end.how, { exitCode: 0 }, stderr);
  const seen = programs.map(() => ({}) as Record<(typeof WAYS)[number], ReturnType<typeof plain>>);
  let next = 0;
  const work = async () => {
    for (let n = next++; n < programs.length; n = next++) {
      for (const way of waysOf(n)) seen[n]![way] = await runOne(sandbox, programs[n]!, n, way);
    }
  };
  await Promise.all(Array.from({ length: options.atOnce }, work));
  const files: Record<string, Record<string, object>> = JSON.parse((await run(sandbox, LOOK)).stdout);
  for (const [n, { title }] of programs.entries()) {
    const all = (way: (typeof WAYS)[number]) => ({ ...seen[n]![way], files: files[n]?.[way] ?? {} });
    for (const kind of kinds(n)) {
      const [reference, ...tries] = WAYS.filter((way) => way[0] === kind[0]).map(all);
      const known = options.differences.find(
        (each) => each.programs.includes(title) && (each.as ?? kind) === kind,
      );
      if (!known) {
        for (const [at, each] of tries.entries()) {
          t.same(each, reference, `as in python3, as ${kind}, time ${at + 1}: ${title}`);
        }
      } else if (tries.every((each) => JSON.stringify(each) === JSON.stringify(reference))) {
        t.fail(`as ${kind}, this is not different any more: ${title} (${known.why})`);
      }
    }
  }
}

async function runOne(
  sandbox: Sandbox,
  { code, args = [], stdin = 'line1\nline2\n', env = {} }: PythonProgram,
  number: number,
  way: (typeof WAYS)[number],
) {
  const cwd = `w/${number}/${way}`;
  const what =
    way === 'cr'
      ? ['python3', '-c', code, ...args]
      : way === 'fr'
        ? ['python3', `/workspace/${cwd}/main.py`, ...args]
        : way[0] === 'c'
          ? { kind: 'python' as const, code, args }
          : { kind: 'python' as const, file: `${cwd}/main.py`, args };
  return plain(await run(sandbox, what, { cwd, stdin, env }), cwd);
}

/** Without what is never twice the same, and without the lines of code in no file, which only we can show (docs/python.md). */
function plain({ end, stdout, stderr }: Ran, cwd: string) {
  const clean = (text: string) =>
    text
      .replaceAll(cwd, 'w/N/WAY')
      .replaceAll(/0x[0-9a-f]+/g, '0x')
      .replaceAll(/pid=\d+/g, 'pid=')
      .replaceAll(/refcount *: \d+/g, 'refcount');
  return {
    how: end.how,
    stdout: clean(stdout),
    stderr: clean(stderr)
      .replaceAll(/(File "<string>", line \d+, in .*\n)(?: {4}\S.*\n(?: +[~^]+\n)?)?/g, '$1')
      .replaceAll(/^( *\| +File "<string>".*\n)(?: *\| {5,}.*\n)*/gm, '$1'),
  };
}

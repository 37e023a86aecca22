// Trees of the tests: made with any bytes for names, described so that two of them can be compared, and walked and
// filled by the same Python as in a sandbox, as a plain child on a directory of the test.
import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, lstatSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { SpawnOneShot } from '../../src/sandbox/oneshot.js';
import type { TreeEntry } from '../../src/sandbox/tree.js';

const TREE = fileURLToPath(new URL('../../src/sandbox/python/tree.py', import.meta.url));

/** Programs that work on `root`; `setup` is Python that runs before them. */
export function treePrograms(root: string, setup?: string): SpawnOneShot & { running: number } {
  const spawnTree = async ({ args }: Parameters<SpawnOneShot>[0]) => {
    const program = setup
      ? ['-c', `${setup}\nimport runpy; runpy.run_path(${JSON.stringify(TREE)}, run_name="__main__")`]
      : [TREE];
    const child = spawn('/usr/bin/python3', ['-I', '-S', ...program, ...args, root]);
    spawned.running++;
    let stderr = '';
    child.stderr.on('data', (chunk: Buffer) => {
      stderr += chunk;
    });
    const ended = new Promise<{ code: number | null; signal: string | null; stderr: string }>((resolve) => {
      child.once('close', (code, signal) => {
        spawned.running--;
        resolve({ code, signal, stderr });
      });
    });
    return {
      stdin: child.stdin,
      stdout: child.stdout,
      ended,
      kill: () => {
        child.kill('SIGKILL');
        // Nobody reads on; `close` waits for the pipe to be empty.
        child.stdout.destroy();
      },
    };
  };
  const spawned = Object.assign(spawnTree, { running: 0 });
  return spawned;
}

/** One line for each entry below `root`: everything a restore must give back. */
export function describeTree(root: string, at: Buffer = Buffer.from(root)): string[] {
  return readdirSync(at, { encoding: 'buffer' })
    .sort(Buffer.compare)
    .flatMap((name) => {
      const path = Buffer.concat([at, Buffer.from('/'), name]);
      const found = lstatSync(path, { bigint: true });
      const mode = (Number(found.mode) & 0o777).toString(8);
      const shown = path.subarray(Buffer.byteLength(root) + 1).toString('latin1');
      const line = `${JSON.stringify(shown)} ${mode} ${found.mtimeNs}`;
      if (found.isSymbolicLink())
        return [`${line} -> ${readlinkSync(path, { encoding: 'buffer' }).toString('latin1')}`];
      const read = <T>(work: () => T) => whileReadable(path, Number(found.mode) & 0o7777, work);
      if (found.isDirectory()) return [`${line} directory`, ...read(() => describeTree(root, path))];
      if (!found.isFile()) return [`${line} other`];
      const bytes = read(() => readFileSync(path));
      return [`${line} ${found.size} ${createHash('sha256').update(bytes).digest('hex')}`];
    });
}

/** An ordinary user may not read what has no bit for its owner; and must be able to remove it after the test. */
function whileReadable<T>(path: Buffer, mode: number, work: () => T): T {
  if (process.getuid!() === 0 || (mode & 0o500) === 0o500) return work();
  chmodSync(path, 0o700);
  try {
    return work();
  } finally {
    chmodSync(path, mode);
  }
}

/** All entries, bodies read. */
export async function collectTree(entries: AsyncIterable<TreeEntry>) {
  const all: (TreeEntry & { contents?: Buffer })[] = [];
  for await (const entry of entries) {
    if (entry.type !== 'file') {
      all.push(entry);
      continue;
    }
    const pieces: Buffer[] = [];
    for await (const piece of entry.body) pieces.push(piece);
    all.push(Object.assign(entry, { contents: Buffer.concat(pieces) }));
  }
  return all;
}

export const file = (path: string | Buffer, contents: string | Buffer, mode = 0o644): TreeEntry => ({
  ...{ type: 'file', path: Buffer.from(path as string), mode, mtimeNs: 1_000_000_000_000_000_001n },
  sizeBytes: Buffer.byteLength(contents),
  body: one(Buffer.from(contents as string)),
});

export const directory = (path: string | Buffer, mode = 0o755): TreeEntry => ({
  ...{ type: 'directory', path: Buffer.from(path as string), mode, mtimeNs: 1_000_000_000_000_000_002n },
});

export const symlink = (path: string, target: string): TreeEntry => ({
  ...{ type: 'symlink', path: Buffer.from(path), mode: 0o777, mtimeNs: 1_000_000_000_000_000_003n },
  target: Buffer.from(target),
});

async function* one(bytes: Buffer) {
  if (bytes.length > 0) yield bytes;
}

export async function* entriesOf(...entries: TreeEntry[]) {
  yield* entries;
}

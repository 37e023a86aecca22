import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { checkpointBench, principal } from '../helpers/checkpoints.js';
import { describeTree } from '../helpers/tree.js';

t.setTimeout(120_000);

t.test('a tree of 10,000 files comes back mode for mode', async (t) => {
  // In memory where there is such a place: making so many files on a busy disk takes minutes.
  const base = existsSync('/dev/shm') ? '/dev/shm' : tmpdir();
  const { checkpoints, session, live: lives } = await checkpointBench(t, { base });
  const { live, root } = await session();
  execFileSync('/usr/bin/python3', [
    '-c',
    `import os, sys
for d in range(100):
    path = os.path.join(sys.argv[1], "dir%02d" % d); os.mkdir(path)
    for f in range(100):
        name = os.path.join(path, "file%02d" % f)
        with open(name, "w") as file: file.write("%d %d\\n" % (d, f) * 50)
        os.chmod(name, 0o400 + (d * 100 + f) % 0o400)
    os.chmod(path, 0o700 + d % 0o100)`,
    root,
  ]);
  const startedAt = performance.now();
  const made = await checkpoints.create(principal, live.row.session_id);
  const createdAt = performance.now();
  const { sessionId } = await checkpoints.restore(principal, made.checkpointId, {});
  const restoredAt = performance.now();
  t.comment(
    `create ${Math.round(createdAt - startedAt)} ms, restore ${Math.round(restoredAt - createdAt)} ms`,
  );
  t.equal(made.fileCount, 10_000);
  t.same(describeTree(join(root, '..', lives.get(sessionId)!.row.id)), describeTree(root));
});

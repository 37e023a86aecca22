import { execFileSync } from 'node:child_process';
import { createHash, randomFillSync } from 'node:crypto';
import {
  appendFileSync,
  copyFileSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { CheckpointRepository } from '../../src/checkpoints/repository.js';
import { StoreUnavailable } from '../../src/errors.js';
import { checkpointBench, principal } from '../helpers/checkpoints.js';
import { until } from '../helpers/event-client.js';
import { describeTree, treePrograms } from '../helpers/tree.js';

t.test(
  'a checkpoint is <checkpointId>.tar.gz in the checkpoint directory, with its true size and hash',
  async (t) => {
    const { checkpoints, archives, session, store } = await checkpointBench(t);
    const { live, root } = await session();
    writeFileSync(join(root, 'script.py'), 'print(1)');
    const made = await checkpoints.create(principal, live.row.session_id, { name: 'first' });
    const archive = readFileSync(join(archives, `${made.checkpointId}.tar.gz`));
    t.match(made, {
      checkpointId: /^ckp_[0-9a-z]{26}$/,
      sessionId: live.row.session_id,
      name: 'first',
      kind: 'full',
      sizeBytes: archive.length,
      sha256: createHash('sha256').update(archive).digest('hex'),
      uncompressedBytes: 8,
      fileCount: 1,
      consistency: 'frozen',
      changes: null,
      skipped: {},
      changedWhileReading: [],
    });
    t.same(await checkpoints.get(principal, made.checkpointId), made);
    const event = await store.query.selectFrom('events').selectAll().executeTakeFirstOrThrow();
    t.equal(event.type, 'checkpoint.created');
    t.match(JSON.parse(event.data), { checkpointId: made.checkpointId, sha256: made.sha256 });
    const row = await store.query.selectFrom('sessions').selectAll().executeTakeFirstOrThrow();
    t.equal(row.last_checkpoint_id, made.checkpointId);
  },
);

t.test('restoring gives the old contents, whatever became of the session', async (t) => {
  const { checkpoints, session, live: lives } = await checkpointBench(t);
  const { live, root } = await session({
    env: '{"SECRET":"s"}',
    metadata: '{"team":"search"}',
    user_id: 'alice',
  });
  writeFileSync(join(root, 'script.py'), 'old');
  const random = randomFillSync(Buffer.alloc(10 * 1024 * 1024));
  writeFileSync(join(root, 'big.bin'), random);
  mkdirSync(join(root, '.venv/bin'), { recursive: true });
  symlinkSync('/usr/bin/python3', join(root, '.venv/bin/python'));
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  const before = describeTree(root);
  writeFileSync(join(root, 'script.py'), 'new');
  rmSync(join(root, 'big.bin'));
  const { sessionId } = await checkpoints.restore(principal, checkpointId, {});
  const copy = lives.get(sessionId)!;
  const restored = join(root, '..', copy.row.id);
  t.same(describeTree(restored), before);
  t.ok(readFileSync(join(restored, 'big.bin')).equals(random));
  t.equal(copy.row.restored_from, checkpointId);
});

t.test('a restored session has the settings of the old one, unless told otherwise', async (t) => {
  const { checkpoints, session, created } = await checkpointBench(t);
  const { live } = await session({
    env: '{"GREETING":"hello"}',
    metadata: '{"team":"search"}',
    user_id: 'alice',
    idle_timeout_seconds: null,
    concurrency: 3,
  });
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  await checkpoints.restore(principal, checkpointId, { mode: 'new', sessionId: 'mine', concurrency: 1 });
  t.same(created[0], {
    sessionId: 'mine',
    checkpointId,
    userId: 'alice',
    env: { GREETING: 'hello' },
    metadata: { team: 'search' },
    limits: { diskMb: 100 },
    concurrency: 1,
    network: { mode: 'none' },
    idleTimeoutSeconds: null,
    maxLifetimeSeconds: null,
    checkpointOnExpiry: true,
  });
});

t.test(
  'changes are counted from one checkpoint to the next, and from the one a session was started from',
  async (t) => {
    const { checkpoints, session, live: lives } = await checkpointBench(t);
    const { live, root } = await session();
    for (const name of ['same', 'changed', 'gone']) writeFileSync(join(root, name), name);
    symlinkSync('same', join(root, 'link'));
    const first = await checkpoints.create(principal, live.row.session_id);
    writeFileSync(join(root, 'changed'), 'longer than before');
    rmSync(join(root, 'gone'));
    mkdirSync(join(root, 'new'));
    writeFileSync(join(root, 'new/a'), '');
    const second = await checkpoints.create(principal, live.row.session_id);
    t.same(second.changes, { created: 1, modified: 1, deleted: 1 });
    t.same((await checkpoints.create(principal, live.row.session_id)).changes, {
      created: 0,
      modified: 0,
      deleted: 0,
    });
    const { sessionId } = await checkpoints.restore(principal, first.checkpointId, {});
    writeFileSync(join(root, '..', lives.get(sessionId)!.row.id, 'more'), '');
    t.same((await checkpoints.create(principal, sessionId)).changes, { created: 1, modified: 0, deleted: 0 });
  },
);

t.test('installed packages are named', async (t) => {
  const { checkpoints, session } = await checkpointBench(t);
  const { live, root } = await session();
  const site = join(root, '.venv/lib/python3.11/site-packages');
  for (const name of ['Flask-2.3.0', 'typing_extensions-4.12.2', 'zope.interface-6.0']) {
    mkdirSync(join(site, `${name}.dist-info`), { recursive: true });
  }
  mkdirSync(join(root, 'other-1.0.dist-info'));
  t.same((await checkpoints.create(principal, live.row.session_id)).installedPackages, [
    { name: 'flask', version: '2.3.0' },
    { name: 'typing-extensions', version: '4.12.2' },
    { name: 'zope-interface', version: '6.0' },
  ]);
});

t.test('what is not in it is counted', async (t) => {
  const { checkpoints, session } = await checkpointBench(t);
  const { live, root } = await session();
  execFileSync('mkfifo', [join(root, 'a'), join(root, 'b')]);
  t.same((await checkpoints.create(principal, live.row.session_id)).skipped, { fifo: 2 });
});

t.test(
  'files that shrink or grow while they are packed are named, and the checkpoint is whole',
  async (t) => {
    const { checkpoints, session, live: lives } = await checkpointBench(t);
    const { live, root } = await session();
    for (const name of ['grows', 'shrinks']) writeFileSync(join(root, name), Buffer.alloc(6_000_000, 7));
    const { sandbox } = live;
    const packTree = sandbox.packTree.bind(sandbox);
    // A file is announced, and far from read, when its name goes by: the pipe holds much less.
    sandbox.packTree = async function* (signal): AsyncGenerator<Buffer> {
      const changes = new Map([
        ['grows', () => appendFileSync(join(root, 'grows'), 'more')],
        ['shrinks', () => truncateSync(join(root, 'shrinks'), 1000)],
      ]);
      for await (const chunk of packTree(signal)) {
        for (const [name, change] of changes) {
          if (chunk.includes(name) && changes.delete(name)) change();
        }
        yield chunk;
      }
    };
    const made = await checkpoints.create(principal, live.row.session_id);
    t.same(made.changedWhileReading, ['grows', 'shrinks']);
    const { sessionId } = await checkpoints.restore(principal, made.checkpointId, {});
    const restored = join(root, '..', lives.get(sessionId)!.row.id);
    for (const name of ['grows', 'shrinks']) t.equal(readFileSync(join(restored, name)).length, 6_000_000);
  },
);

t.test('only the newest of a session are kept, and no other session loses any', async (t) => {
  const { checkpoints, archives, session } = await checkpointBench(t, { kept: 2 });
  const one = await session({ session_id: 'a' });
  // The ancestor's clean-up by name took these for its own.
  const other = await session({ session_id: 'a-b' });
  const kept = [(await checkpoints.create(principal, 'a-b')).checkpointId];
  for (let i = 0; i < 4; i++) kept.push((await checkpoints.create(principal, 'a')).checkpointId);
  kept.splice(1, 2);
  t.same(
    readdirSync(archives)
      .filter((name) => name.endsWith('.tar.gz'))
      .sort(),
    kept.map((id) => `${id}.tar.gz`).sort(),
  );
  const list = (sessionId: string) => checkpoints.list({ tenant: 'default', sessionId, limit: 50 });
  t.same(
    (await list('a')).items.map(({ checkpointId }) => checkpointId),
    kept.slice(1).reverse(),
  );
  t.equal((await list('a-b')).items.length, 1);
  t.not(one.live.row.id, other.live.row.id);
});

t.test('a failure at any point leaves no file and no record', async (t) => {
  const broken = (setup: string) => (root: string) => treePrograms(root, setup);
  const failures: [string, () => Promise<unknown>][] = [];
  let bench = await checkpointBench(t);
  const nothingLeft = async (what: string) => {
    t.same(readdirSync(bench.archives), [], what);
    t.same(await bench.store.query.selectFrom('checkpoints').selectAll().execute(), [], what);
    t.same(await bench.store.query.selectFrom('events').selectAll().execute(), [], what);
  };
  const { live: dying, root } = await bench.session(
    {},
    broken('import os\nos.read = lambda *a: os._exit(3)'),
  );
  writeFileSync(join(root, 'a'), 'a');
  failures.push(['the reader dies', () => bench.checkpoints.create(principal, dying.row.session_id)]);
  const { live: large, root: largeRoot } = await bench.session({ limits: '{"diskMb":1}' });
  execFileSync('truncate', ['-s', '5M', join(largeRoot, 'sparse')]);
  failures.push(['it is too large', () => bench.checkpoints.create(principal, large.row.session_id)]);
  for (const [what, fail] of failures) {
    await t.rejects(fail(), what);
    await nothingLeft(what);
  }
  await t.rejects(failures[1]![1](), { code: 'PAYLOAD_TOO_LARGE' });

  const append = () => Promise.reject(new Error('the store is gone'));
  bench = await checkpointBench(t, { journal: { append } });
  const { live } = await bench.session();
  await t.rejects(bench.checkpoints.create(principal, live.row.session_id), { message: 'the store is gone' });
  await nothingLeft('the store refuses');

  bench = await checkpointBench(t);
  const { live: last, root: lastRoot } = await bench.session();
  writeFileSync(join(lastRoot, 'big'), Buffer.alloc(50_000_000));
  const taking = bench.checkpoints.create(principal, last.row.session_id);
  bench.checkpoints.close();
  await t.rejects(taking, { code: 'SHUTTING_DOWN' });
  await nothingLeft('the service stops');
});

t.test('whether a record was stored that the store cannot tell of, a look tells', async (t) => {
  const unknown = () => new StoreUnavailable(new Error('the answer is lost'), 'unknown');
  let isStored = true;
  const bench = await checkpointBench(t, {
    journal: {
      append: async (_key, _events, { before = [] } = {}) => {
        if (isStored) await bench.store.write(before);
        throw unknown();
      },
    },
  });
  const { live } = await bench.session();
  const { checkpointId } = await bench.checkpoints.create(principal, live.row.session_id);
  const { file } = await bench.checkpoints.openArchive(principal, checkpointId);
  await file.close();
  const files = readdirSync(bench.archives);

  isStored = false;
  await t.rejects(bench.checkpoints.create(principal, live.row.session_id), {
    code: 'STORE_UNAVAILABLE',
    outcome: 'notStarted',
  });
  t.same(readdirSync(bench.archives), files, 'nothing is left of one that was not stored');

  const { exists } = CheckpointRepository.prototype;
  t.teardown(() => {
    CheckpointRepository.prototype.exists = exists;
  });
  CheckpointRepository.prototype.exists = () => Promise.reject(unknown());
  await t.rejects(bench.checkpoints.create(principal, live.row.session_id), {
    code: 'STORE_UNAVAILABLE',
    outcome: 'unknown',
  });
  CheckpointRepository.prototype.exists = exists;
  t.ok(readdirSync(bench.archives).length > files.length, 'kept until somebody can look');
  await bench.checkpoints.start();
  t.same(readdirSync(bench.archives), files);
});

t.test('a full disk of the service is OUT_OF_DISK', async (t) => {
  const { checkpoints, session, archives } = await checkpointBench(t);
  const { live } = await session();
  live.sandbox.packTree = () => {
    throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
  };
  await t.rejects(checkpoints.create(principal, live.row.session_id), { code: 'OUT_OF_DISK' });
  t.same(readdirSync(archives), []);
});

t.test('the start removes what an earlier run did not finish, and nothing else', async (t) => {
  const { checkpoints, archives } = await checkpointBench(t);
  const id = `ckp_${'0'.repeat(26)}`;
  for (const name of [`${id}.tar.gz.partial`, `${id}.manifest.gz.partial`, `${id}.tar.gz`, 'notes.partial']) {
    writeFileSync(join(archives, name), '');
  }
  await checkpoints.start();
  t.same(readdirSync(archives).sort(), [`${id}.tar.gz`, 'notes.partial'].sort());
});

t.test('after a crash an archive without its record is removed, and one with it stays', async (t) => {
  const crash = { journal: { append: () => new Promise<never>(() => {}) } };
  const { checkpoints, session, archives } = await checkpointBench(t);
  const { live } = await session();
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  const whole = readdirSync(archives);
  writeFileSync(join(archives, `${checkpointId}.unsettled`), '');

  const crashed = await checkpointBench(t, crash);
  const half = await crashed.session();
  void crashed.checkpoints.create(principal, half.live.row.session_id);
  await until(() => readdirSync(crashed.archives).some((name) => name.endsWith('.manifest.gz')));
  for (const name of readdirSync(crashed.archives)) {
    copyFileSync(join(crashed.archives, name), join(archives, name));
  }
  t.ok(readdirSync(archives).length > whole.length + 1);
  await checkpoints.start();
  t.same(readdirSync(archives), whole);
  t.match(await checkpoints.get(principal, checkpointId), { checkpointId });
});

t.test('a checkpoint whose archive somebody took away says so, and can be removed', async (t) => {
  const { checkpoints, session, archives } = await checkpointBench(t);
  const { live } = await session();
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  rmSync(join(archives, `${checkpointId}.tar.gz`));
  const gone = {
    code: 'CHECKPOINT_NOT_FOUND',
    message: /archive .* is gone/,
    suggestion: new RegExp(`${checkpointId}.tar.gz`),
  };
  await t.rejects(checkpoints.openArchive(principal, checkpointId), gone);
  await t.rejects(checkpoints.restore(principal, checkpointId, {}), gone);
  await checkpoints.remove(principal, checkpointId);
  await t.rejects(checkpoints.get(principal, checkpointId), { code: 'CHECKPOINT_NOT_FOUND' });
});

t.test('a damaged archive is not restored', async (t) => {
  const { checkpoints, session, archives } = await checkpointBench(t);
  const { live, root } = await session();
  writeFileSync(join(root, 'a'), 'a'.repeat(1000));
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  const path = join(archives, `${checkpointId}.tar.gz`);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
  await t.rejects(checkpoints.restore(principal, checkpointId, {}));
});

t.test('a workspace too small for the checkpoint is refused with what it needs', async (t) => {
  const { checkpoints, session } = await checkpointBench(t);
  const { live, root } = await session();
  writeFileSync(join(root, 'big'), Buffer.alloc(3_000_000, 1));
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  const small = await session({}, (path) =>
    treePrograms(path, 'import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))'),
  );
  await t.rejects(checkpoints.restoreInto(principal, checkpointId, small.live.sandbox), {
    code: 'VALIDATION_FAILED',
    errors: [{ where: '/body/limits/diskMb' }],
  });
});

t.test('a removed checkpoint is gone, and one of another tenant was never there', async (t) => {
  const { checkpoints, session, archives } = await checkpointBench(t);
  const { live } = await session();
  const { checkpointId } = await checkpoints.create(principal, live.row.session_id);
  const stranger = { tenant: 'stranger' };
  const missing = { code: 'CHECKPOINT_NOT_FOUND' };
  for (const who of [stranger, principal]) {
    if (who === principal) await checkpoints.remove(principal, checkpointId);
    await t.rejects(checkpoints.get(who, checkpointId), missing);
    await t.rejects(checkpoints.remove(who, checkpointId), missing);
    await t.rejects(checkpoints.openArchive(who, checkpointId), missing);
    await t.rejects(checkpoints.restoreInto(who, checkpointId, live.sandbox), missing);
  }
  t.same(readdirSync(archives), []);
  await t.rejects(checkpoints.get(principal, '../../etc/passwd'), missing);
  await t.rejects(checkpoints.listOf('none', { tenant: 'default', limit: 5 }), {
    code: 'SESSION_NOT_FOUND',
  });
});

t.test('the checkpoint at the end of a session is taken of a session that is ending', async (t) => {
  const { checkpoints, session } = await checkpointBench(t);
  const { live } = await session();
  t.match(await checkpoints.takeAtEnd(live, 'expired'), { name: 'expired', consistency: 'idle' });
});

import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import { openDatabase } from '../../src/store/database.js';
import { emptyDirectory } from '../helpers/directory.js';
import { killRounds } from '../helpers/kill-rounds.js';
import { startProcess } from '../helpers/service-process.js';
import { clientOf, until } from '../helpers/world.js';

t.test('kill -9 under work: nothing acknowledged is lost, nothing repeated, no orphan process', async (t) => {
  await killRounds(t, emptyDirectory(t), 3);
});

t.test(
  'kill -9 while a session ends with a checkpoint: the next run takes it before the files go',
  async (t) => {
    const dataDir = emptyDirectory(t);
    const checkpoints = join(dataDir, 'checkpoints');
    const first = startProcess(t, dataDir);
    const url = (await first.line('listening')).address!;
    const post = async (path: string, body: unknown) =>
      fetch(url + path, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify(body),
      });
    await post('/v1/sessions', { sessionId: 'ending' });
    const code = "import os\nfor n in range(100): open(f'{n}.bin', 'wb').write(os.urandom(1 << 20))";
    await post('/v1/sessions/ending/tasks?wait=60', { tool: 'run.python', arguments: { code } });
    const ending = fetch(`${url}/v1/sessions/ending?checkpoint=true`, { method: 'DELETE' }).catch(
      () => 'cut',
    );
    await until(async () => (await readdir(checkpoints)).some((name) => name.endsWith('.partial')));
    first.child.kill('SIGKILL');
    await first.exited;
    t.equal(await ending, 'cut');

    const second = startProcess(t, dataDir);
    const { address } = await second.line('listening');
    const session = await until(async () => {
      const found = (await (await fetch(`${address}/v1/sessions/ending`)).json()) as Session;
      return found.state !== 'terminating' && found;
    });
    t.match(session, { state: 'terminated', stateReason: 'deleted', checkpointId: /^ckp_/ });
    t.same(
      (await readdir(checkpoints)).filter((name) => name.endsWith('.tar.gz')),
      [`${session.checkpointId}.tar.gz`],
    );
    second.child.kill('SIGTERM');
    t.equal(await second.exited, 0);
  },
);

/** Keeps the store from writing, as a disk does that takes its time, from a moment at which the task is stored and its start
 *  is not. False when its start was stored first. */
function holdWrites(db: ReturnType<typeof openDatabase>, taskId: string): boolean {
  const status = db.prepare('select status from tasks where task_id = ?');
  for (;;) {
    db.exec('begin immediate');
    const row = status.get([taskId]);
    if (row) return row[0] === 'queued';
    db.exec('rollback');
  }
}

t.test(
  'kill -9 while the store is slow to take the start of a task: it runs once all the same',
  async (t) => {
    const dataDir = emptyDirectory(t);
    // Its workspace is a directory that can be looked into, and one store file at a place that is known.
    const settings = { DISK_LIMIT: 'watcher', SPARE_SANDBOXES: '0' };
    const first = startProcess(t, dataDir, settings);
    let url = (await first.line('listening')).address!;
    const client = clientOf(() => url);
    await client.session({ sessionId: 'once' });
    await client.python('once', 'print("warm")');
    const store = (await readdir(dataDir, { recursive: true })).find((name) => name.endsWith('.db'))!;
    const db = openDatabase(join(dataDir, store));
    const hasRun = async (name: string) =>
      (await readdir(dataDir, { recursive: true })).some((path) => path.endsWith(`/workspace/${name}`));
    const submitted: string[] = [];
    let isHeld = false;
    for (let n = 0; !isHeld; n += 1) {
      const taskId = `once-${n}`;
      submitted.push(taskId);
      const code = `open("${taskId}", "a").write("ran ")`;
      const sent = client.submit('once', 'run.python', { code }, { taskId }).catch(() => 'cut');
      await new Promise((resolve) => setTimeout(resolve, 5));
      isHeld = holdWrites(db, taskId);
      if (isHeld) break;
      db.exec('rollback');
      await sent;
    }
    const last = submitted.at(-1)!;
    // A program that is begun too early has begun long before this is over.
    for (let looks = 0; looks < 20 && !(await hasRun(last)); looks += 1)
      await new Promise((resolve) => setTimeout(resolve, 50));
    first.child.kill('SIGKILL');
    await first.exited;
    db.exec('rollback');
    db.close();

    const second = startProcess(t, dataDir, settings);
    url = (await second.line('listening')).address!;
    for (const taskId of submitted) {
      await until(async () => (await client.call('GET', `/v1/tasks/${taskId}?wait=30`)).body.endedAt);
      t.equal(await client.readFile('once', taskId), 'ran ', taskId);
    }
    second.child.kill('SIGTERM');
    t.equal(await second.exited, 0);
  },
);

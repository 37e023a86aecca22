// The disk of the service fills up and gets room again. A small tmpfs is its data directory, in a mount namespace that
// ends with the service.

import { open, rm, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import { openDatabase } from '../../src/store/database.js';
import type { Task } from '../../src/tasks/schema.js';
import { emptyDirectory } from '../helpers/directory.js';
import { noOtherHosts as skip, THIS_HOST } from '../helpers/hosts.js';
import { startProcess } from '../helpers/service-process.js';
import { processesNamed, until } from '../helpers/world.js';

const PROCESS_NAME = 'cw-full-disk';

async function startOnSmallDisk(t: Test, mib: number, floorMib = 0) {
  const dataDir = emptyDirectory(t);
  const mount = `mount -t tmpfs -o size=${mib}m,mode=0700 none "$DATA_DIR" && exec "$@"`;
  const service = startProcess(
    t,
    dataDir,
    { MIN_FREE_DISK_MB: String(floorMib) },
    { ...THIS_HOST, prefix: ['unshare', '--mount', 'sh', '-c', mount, 'sh'] },
  );
  const { address } = await service.line('listening');
  // Its namespace, seen from ours.
  const disk = join(`/proc/${service.child.pid}/root`, dataDir);
  const call = async <T>(method: string, path: string, body?: unknown) => {
    const json = body === undefined ? {} : { headers: { 'content-type': 'application/json' } };
    const reply = await fetch(address + path, { method, ...json, body: JSON.stringify(body) ?? null });
    return { status: reply.status, body: (await reply.json()) as T };
  };
  return { service, disk, call };
}

/** Leaves no byte free. */
async function fill(disk: string): Promise<string> {
  const path = join(disk, 'ballast');
  const file = await open(path, 'a');
  for (let size = 1024 * 1024; size >= 4096; ) {
    await file.write(Buffer.alloc(size)).catch(() => {
      size /= 2;
    });
  }
  await file.close();
  t.ok((await statfs(disk)).bavail < 2, 'the disk is full');
  return path;
}

t.test(
  'a full disk: reads go on, writes are a 507, tasks end with the truth, and it recovers by itself',
  { skip },
  async (t) => {
    const { service, disk, call } = await startOnSmallDisk(t, 48);
    await call('POST', '/v1/sessions', { sessionId: 'full' });
    const submit = (taskId: string, tool: string, args: object, more = {}) =>
      call<Task>('POST', '/v1/sessions/full/tasks', { taskId, tool, arguments: args, ...more });
    const print = `import ctypes, time
ctypes.CDLL(None).prctl(15, b"${PROCESS_NAME}", 0, 0, 0)
while True: print("x" * 4000, flush=True); time.sleep(.01)`;
    t.equal(
      (
        await submit(
          'printer',
          'run.python',
          { code: print },
          { background: true, constraints: { timeoutSeconds: 600 } },
        )
      ).status,
      202,
    );
    const accepted = ['printer'];
    await until(async () => (await processesNamed(PROCESS_NAME)).length > 0);

    const ballast = await fill(disk);
    // What is in the log may be written over, and so for a while a small write finds room where a larger one does not.
    const submitMore = async () => {
      const taskId = `echo-${accepted.length}`;
      const reply = await submit(taskId, 'echo', { message: 'x'.repeat(2000) });
      if (reply.status === 202) accepted.push(taskId);
      return reply;
    };
    const refused = await until(async () => {
      const reply = await submitMore();
      return reply.status !== 202 && reply;
    });
    t.match(refused, { status: 507, body: { code: 'OUT_OF_DISK', outcome: 'notStarted', retryable: true } });
    await until(async () => {
      await submitMore();
      return (await call('GET', '/readyz')).status === 507;
    });
    t.match(await call('POST', '/v1/sessions', {}), { status: 507, body: { code: 'OUT_OF_DISK' } });
    t.equal((await call('GET', '/healthz')).status, 200);
    t.match(await call('GET', '/v1/sessions/full'), { status: 200, body: { sessionId: 'full' } });
    t.equal((await call('GET', '/v1/sessions/full/events?limit=1000')).status, 200);
    t.match(await call('GET', '/v1/tasks/printer'), { status: 200, body: { taskId: 'printer' } });

    await until(async () => (await processesNamed(PROCESS_NAME)).length === 0);
    await rm(ballast);
    await until(async () => (await call('GET', '/readyz')).status === 200);
    const again = await submit(`echo-${accepted.length}`, 'echo', { message: 'x'.repeat(2000) });
    t.equal(again.status, 202, 'what was refused had not begun');
    accepted.push(again.body.taskId);
    const printer = await until(async () => {
      const { body } = await call<Task>('GET', '/v1/tasks/printer?wait=10');
      return body.endedAt && body;
    });
    t.match(printer, {
      status: 'failure',
      ending: { cause: 'interrupted', message: /could not take.*output/ },
    });
    const output = await fetch(`${(await service.line('listening')).address}/v1/tasks/printer/output/stdout`);
    t.equal((await output.text()).length, printer.usage!.outputBytes, 'what was stored before is there');
    for (const taskId of accepted) {
      await until(async () => (await call<Task>('GET', `/v1/tasks/${taskId}?wait=10`)).body.endedAt);
    }
    const events: Event[] = [];
    for (;;) {
      const { body } = await call<{ events: Event[] }>(
        'GET',
        `/v1/sessions/full/events?after=${events.length}`,
      );
      if (body.events.length === 0) break;
      events.push(...body.events);
    }
    t.same(
      events.map(({ seq }) => seq),
      events.map((_, index) => index + 1),
    );
    for (const taskId of accepted) {
      const own = events.filter((event) => 'taskId' in event && event.taskId === taskId);
      t.equal(own.filter(({ type }) => type === 'task.ended').length, 1, taskId);
    }
    const queued = events.filter(({ type }) => type === 'task.queued').length;
    t.equal(queued, accepted.length, 'a task that was refused left nothing');
    const db = openDatabase(join(disk, 'store.db'));
    t.same(db.prepare('pragma integrity_check').all([]).rows, [['ok']]);
    db.close();
    service.child.kill('SIGTERM');
    t.equal(await service.exited, 0);
  },
);

t.test(
  'a disk that is almost full: whoever writes is stopped, reading and removing go on, and it recovers by itself',
  { skip },
  async (t) => {
    const { disk, call } = await startOnSmallDisk(t, 96, 48);
    await call('POST', '/v1/sessions', { sessionId: 'low' });
    const run = async (tool: string, args: object) => {
      const { status, body } = await call<Task>('POST', '/v1/sessions/low/tasks?wait=30', {
        tool,
        arguments: args,
      });
      return { status, body, cause: body.ending?.cause };
    };
    const write = (mib: number, name = 'big') =>
      `import os\nwith open("${name}", "wb") as f:\n    for _ in range(${mib}): f.write(os.urandom(1 << 20))\n    f.flush(); os.fsync(f.fileno())\n`;
    t.equal((await run('run.python', { code: write(8, 'small') })).cause, 'exited', 'there is room');
    const writer = await run('run.python', { code: `${write(40)}import time; time.sleep(600)` });
    t.match(writer.body, {
      status: 'failure',
      ending: { cause: 'diskLimit', code: 'OUT_OF_DISK', message: /MIN_FREE_DISK_MB/ },
    });
    t.notOk('limitBytes' in writer.body.ending!, 'the limit of the session was not met');

    const refused = { status: 507, body: { code: 'OUT_OF_DISK', outcome: 'notStarted', retryable: true } };
    t.match(await run('run.python', { code: 'pass' }), refused);
    t.match(await run('fs.write', { path: 'a', contents: 'a' }), refused);
    t.match(await call('POST', '/v1/sessions', {}), refused);
    t.match(await call('POST', '/v1/sessions/low/checkpoints', {}), refused);
    t.match(await call('GET', '/readyz'), { status: 507, body: { code: 'OUT_OF_DISK' } });
    t.equal((await call('GET', '/healthz')).status, 200);
    t.equal((await run('fs.list', {})).cause, 'finished');
    t.equal((await run('fs.read', { path: 'small', encoding: 'base64', length: 10 })).cause, 'finished');
    t.ok((await statfs(disk)).bavail > 0, 'there is room to say so');

    t.equal((await run('fs.remove', { path: 'big' })).cause, 'finished');
    await until(async () => (await call('GET', '/readyz')).status === 200);
    t.equal((await run('run.python', { code: 'print(1)' })).cause, 'exited');
  },
);

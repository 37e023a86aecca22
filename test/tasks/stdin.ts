import t from 'tap';
import { StdinFull } from '../../src/errors.js';
import { deferred } from '../../src/lib/deferred.js';
import type { LiveTask } from '../../src/tasks/live-task.js';
import { StdinRoom } from '../../src/tasks/stdin.js';
import { openSocket } from '../helpers/event-client.js';
import { startService, until } from '../helpers/world.js';

const KIB = 1024;
const MIB = 1024 * KIB;
const READS_NOTHING = { code: 'import time; print("here", flush=True); time.sleep(600)', stdinOpen: true };

/** A task whose program reads when it is told. */
function reader() {
  const reads: (() => void)[] = [];
  const task = {
    facts: { taskId: 'a-task', arguments: { stdinOpen: true } },
    status: 'running',
    exec: {
      writeStdin: () => {
        const taken = deferred();
        reads.push(() => taken.resolve());
        return taken.promise;
      },
    },
  } as unknown as LiveTask;
  return { task, read: () => reads.shift()!(), waiting: () => reads.length };
}

const piece = (size: number) => ({ bytes: new Uint8Array(size), close: false });

t.test('a megabyte may wait for one program, or a larger piece alone', async (t) => {
  const room = new StdinRoom(100 * MIB);
  const { task, read } = reader();
  const writes = [room.write(task, piece(512 * KIB)), room.write(task, piece(512 * KIB))];
  await t.rejects(room.write(task, piece(1)), StdinFull);
  await t.rejects(room.write(task, piece(8 * MIB)), StdinFull);
  const close = room.write(task, { bytes: new Uint8Array(), close: true });
  for (let n = 0; n < 3; n += 1) read();
  await Promise.all([...writes, close]);
  const large = room.write(task, piece(8 * MIB));
  await t.rejects(room.write(task, piece(1)), StdinFull);
  read();
  await large;
  t.equal(room.waitingBytes, 0);
});

t.test('what waits for all programs together is bounded', async (t) => {
  const room = new StdinRoom(3 * MIB);
  const programs = Array.from({ length: 4 }, reader);
  const writes = programs.slice(0, 3).map(({ task }) => room.write(task, piece(MIB)));
  t.equal(room.waitingBytes, 3 * MIB);
  await t.rejects(room.write(programs[3]!.task, piece(1)), {
    code: 'STDIN_FULL',
    retryable: true,
    outcome: 'notStarted',
  });
  const patient = room.write(programs[3]!.task, { ...piece(MIB), isPatient: true });
  t.equal(programs[3]!.waiting(), 0, 'it waits for room');
  programs[0]!.read();
  await until(async () => programs[3]!.waiting() === 1);
  for (const { read } of programs.slice(1)) read();
  await Promise.all([...writes, patient]);
  t.equal(room.waitingBytes, 0);
});

t.test(
  'input that no program reads is refused, is given up with its task, and blocks no cancel',
  async (t) => {
    const world = await startService(t, { MAX_STDIN_WAITING_BYTES: String(16 * MIB) });
    const { sessionId } = await world.session();
    const { taskId } = await world.start(sessionId, 'run.python', READS_NOTHING);
    const post = (bytes: number) =>
      fetch(`${world.url}/v1/tasks/${taskId}/stdin`, {
        method: 'POST',
        headers: { 'content-type': 'application/octet-stream' },
        body: new Uint8Array(bytes),
      });
    const first = post(7 * MIB);
    await until(async () =>
      (await (await fetch(`${world.url}/metrics`)).text()).includes(`stdin_waiting_bytes ${7 * MIB}`),
    );
    for (let n = 0; n < 100; n += 1) {
      const refused = await post(7 * MIB);
      t.equal(refused.status, 429);
      t.match(await refused.json(), { code: 'STDIN_FULL', detail: new RegExp(taskId) });
    }
    t.match(await (await fetch(`${world.url}/metrics`)).text(), `stdin_waiting_bytes ${7 * MIB}`);

    const socket = openSocket(t, `${world.url.replace('http', 'ws')}/v1/tasks/${taskId}/events`);
    for (let n = 0; n < 5; n += 1) socket.send({ op: 'stdin', taskId, text: 'unread' });
    socket.send({ op: 'cancel', taskId, reason: 'it does not read' });
    t.match(await world.call('GET', `/v1/tasks/${taskId}?wait=60`), {
      body: { status: 'cancelled', ending: { reason: 'it does not read' } },
    });
    t.match(await (await first).json(), { code: 'STDIN_CLOSED' });
    t.match(await (await fetch(`${world.url}/metrics`)).text(), 'stdin_waiting_bytes 0');
  },
);

import t from 'tap';
import { hasChangedMuch, usageOf } from '../../src/sessions/usage.js';
import { eventsOf, startService, until } from '../helpers/world.js';

const MIB = 1024 * 1024;
const limits = {
  memoryMb: 100,
  cpuPercent: 100,
  diskMb: 1000,
  maxProcesses: 50,
  timeoutSeconds: 1,
  maxOutputBytes: 1,
};

t.test('much is a tenth of a limit, or a second of CPU', async (t) => {
  const before = { memoryBytes: 50 * MIB, cpuMs: 100, processes: 10, diskBytes: 0, files: 1 };
  const changed = (now: object) => hasChangedMuch(before, { ...before, ...now }, limits);
  t.notOk(changed({}));
  t.notOk(changed({ memoryBytes: 59 * MIB, cpuMs: 1000, processes: 14, diskBytes: 99 * MIB, files: 1e6 }));
  for (const now of [
    { memoryBytes: 60 * MIB },
    { memoryBytes: 40 * MIB },
    { cpuMs: 1100 },
    { processes: 15 },
    { diskBytes: 100 * MIB },
  ]) {
    t.ok(changed(now), JSON.stringify(now));
  }
  t.ok(hasChangedMuch({}, before, limits), 'the first time');
});

t.test('what a sandbox cannot tell is left out', async (t) => {
  const sandbox = (usage: () => Promise<object>) => ({ usage }) as never;
  t.same(await usageOf(sandbox(async () => ({ cpuMs: 1.6, inodes: 3 }))), { cpuMs: 2, files: 3 });
  t.same(await usageOf(sandbox(() => Promise.reject(new Error('it is just going')))), {});
});

t.test('a session shows what it uses, and tells it while tasks run', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session({ limits: { memoryMb: 256 } });
  const { taskId } = await world.submit(sessionId, 'run.python', {
    code: 'held = bytearray(80 << 20)\nimport time; time.sleep(60)',
  });
  const event = await until(async () =>
    (await eventsOf(world, sessionId)).find(({ type }) => type === 'session.usage'),
  );
  t.ok((event.data as { processes: number }).processes > 1, JSON.stringify(event.data));
  const shown = await until(async () => {
    const { body } = await world.call<{ usage: { memoryBytes: number; diskBytes?: number } }>(
      'GET',
      `/v1/sessions/${sessionId}`,
    );
    return body.usage.memoryBytes > 60 * MIB && body.usage;
  });
  t.ok(shown.memoryBytes < 256 * MIB);
  await world.call('POST', `/v1/tasks/${taskId}/cancel`, {});
  await world.call('DELETE', `/v1/sessions/${sessionId}`);
  const ended = await world.call<{ usage?: unknown }>('GET', `/v1/sessions/${sessionId}`);
  t.notOk('usage' in ended.body);
});

// Sessions whose sandboxes stood ready, met from outside.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { startProcess } from '../helpers/service-process.js';
import { type Client, clientOf, until } from '../helpers/world.js';

interface Capacity {
  readonly active: number;
  readonly available: number;
}

t.test('a session keeps the sandbox it took, through a kill -9, after which no spare is left', async (t) => {
  const dataDir = t.testdir();
  const workspaces = () => readdirSync(join(dataDir, 'sandboxes/workspaces'));
  const start = async () => {
    const service = startProcess(t, dataDir, { MAX_SESSIONS: '2' });
    const { address } = await service.line('listening');
    return { service, client: clientOf(() => address!) };
  };
  const first = await start();
  await oneStandsReady(first.client);
  t.match(await capacity(first.client), { active: 0, available: 2 }, 'it takes no place');
  const [spare] = workspaces();
  const session = await first.client.session({ env: { WHO: 'me' } });
  await first.client.writeFile(session.sessionId, 'kept', 'here');
  await oneStandsReady(first.client);
  const [other, ...more] = workspaces().filter((id) => id !== spare);
  t.same(more, [], 'its workspace is the one that stood ready');
  first.service.child.kill('SIGKILL');
  await first.service.exited;

  const { service, client } = await start();
  t.notOk(workspaces().includes(other!), 'what stood ready belongs to nobody');
  t.equal(await client.readFile(session.sessionId, 'kept'), 'here');
  const task = await client.python(session.sessionId, 'import os; print(os.environ["WHO"])');
  t.equal(task.outputs?.stdout, 'me\n');
  await client.session();
  t.match(await capacity(client), { active: 2, available: 0 });
  t.equal((await client.call('POST', '/v1/sessions', {})).status, 503);
  service.child.kill('SIGTERM');
  t.equal(await service.exited, 0);
  t.equal(workspaces().length, 2, 'those of the sessions');
});

const oneStandsReady = (client: Client) =>
  until(async () =>
    String((await client.call('GET', '/metrics')).body).includes('codegen_worker_spare_sandboxes 1\n'),
  );

const capacity = async (client: Client): Promise<Capacity> =>
  (await client.call<Capacity>('GET', '/v1/capacity')).body;

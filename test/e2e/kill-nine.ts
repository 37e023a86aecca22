import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import type { Session } from '../../src/sessions/schema.js';
import { emptyDirectory } from '../helpers/directory.js';
import { killRounds } from '../helpers/kill-rounds.js';
import { startProcess } from '../helpers/service-process.js';
import { until } from '../helpers/world.js';

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

import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { lockStore } from '../../src/store/lock.js';

t.test('the lock is one process’s, and is free again when it gives it back', async (t) => {
  const path = `${t.testdir()}/store.lock`;
  const lock = lockStore(path);
  t.throws(() => lockStore(path), { message: /in use by process/ });
  lock.close();
  lockStore(path).close();
});

t.test('a holder that is killed leaves no lock behind', async (t) => {
  const directory = t.testdir();
  const path = `${directory}/store.lock`;
  const child = fork(fileURLToPath(new URL('../helpers/store-writer.js', import.meta.url)), [directory]);
  await once(child, 'message');
  t.throws(() => lockStore(path), { message: new RegExp(`process ${child.pid}\\b`) });
  child.kill('SIGKILL');
  await once(child, 'exit');
  lockStore(path).close();
});

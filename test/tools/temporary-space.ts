// Room beside the workspace: it grows with the session's memory, and a program that filled it is told which it was.
import t from 'tap';
import { startService } from '../helpers/world.js';

const share = (mib: number) => `
from multiprocessing.shared_memory import SharedMemory
memory = SharedMemory(create=True, size=${mib} << 20)
for at in range(0, memory.size, 4096): memory.buf[at] = 1
memory.close(); memory.unlink(); print('shared')`;

const fill = (directory: string, mib: number) => `
import tempfile
with tempfile.TemporaryFile(dir='${directory}') as file:
    for _ in range(${mib}): file.write(bytes(1 << 20))
    file.flush()
print('written')`;

t.test('/tmp and /dev/shm are as large as half of the memory, and their ends are told apart', async (t) => {
  const world = await startService(t);
  const large = await world.session({ limits: { memoryMb: 512 } });
  const small = await world.session({ limits: { memoryMb: 128, diskMb: 128 } });

  for (const code of [share(32), share(200), fill('/tmp', 100), fill('/dev/shm', 100)]) {
    const task = await world.python(large.sessionId, code);
    t.match(task, { status: 'success' }, code);
  }
  const bus = await world.python(small.sessionId, share(100));
  t.match(bus.ending, { cause: 'signaled', signal: 'SIGBUS', message: /\/dev\/shm \(64 MiB\)/ });
  for (const directory of ['/tmp', '/dev/shm']) {
    const full = await world.python(small.sessionId, fill(directory, 70));
    t.match(full.ending, { cause: 'exited', exitCode: 1, message: /\/tmp \(64 MiB\)/ }, directory);
  }
  const other = await world.python(small.sessionId, 'raise SystemExit(3)');
  t.equal(other.ending?.message, 'The process exited with code 3.');
  const disk = await world.python(small.sessionId, "for n in '123': open(n, 'wb').write(bytes(50 << 20))");
  t.match(disk.ending, { cause: 'diskLimit' }, 'which is not the workspace');
});

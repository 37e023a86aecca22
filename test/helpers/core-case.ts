// A program of its own: a driver as whoever runs it, with a few programs, told in one line.

import { pino } from 'pino';
import { BubblewrapDriver } from '../../src/sandbox/driver.js';
import { FORK_AWAY, run, sandboxSpec } from './sandboxes.js';

const driver = new BubblewrapDriver({
  dataDir: process.env.DATA_DIR!,
  log: pino({ level: 'silent' }),
  minimum: 'oneshot',
  uids: { first: 200_000, count: 10 },
  agentIdleMs: 60_000,
});
await driver.start();
const sandbox = await driver.create(sandboxSpec());
const printed = await run(sandbox, 'print(1)');
const { end } = await run(sandbox, FORK_AWAY);
const froze = await sandbox.freeze();
await sandbox.thaw();
const again = await run(sandbox, ['echo', 'again']);
await sandbox.remove();
await driver.close();
console.log(
  driver.isolation.level,
  sandbox.uid,
  printed.stdout.trim(),
  'killed',
  end.processesKilled,
  again.stdout.trim(),
  froze !== 'idle',
);

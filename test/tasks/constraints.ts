import t from 'tap';
import { requireAllowed, resolveConstraints } from '../../src/tasks/constraints.js';

const session = {
  memoryMb: 512,
  cpuPercent: 100,
  diskMb: 10,
  maxProcesses: 64,
  timeoutSeconds: 60,
  maxOutputBytes: 1000,
};
const config = { MAX_TIMEOUT_SECONDS: 100, MAX_MAX_OUTPUT_BYTES: 2000 };

t.test('a task that asks for nothing gets what its session has', async (t) => {
  t.same(resolveConstraints({}, session), {
    timeoutMs: 60_000,
    maxOutputBytes: 1000,
    killGraceMs: 250,
    memoryBytes: undefined,
  });
});

t.test('a task gets what it asks for, up to the maxima', async (t) => {
  const asked = { timeoutSeconds: 0.5, maxMemoryMb: 64, maxOutputBytes: 2000, killGraceMs: 0 };
  t.doesNotThrow(() => requireAllowed(asked, session, config));
  t.same(resolveConstraints(asked, session), {
    timeoutMs: 500,
    maxOutputBytes: 2000,
    killGraceMs: 0,
    memoryBytes: 64 * 1024 * 1024,
  });
});

t.test('more than allowed is refused with every value and rule, not clipped', async (t) => {
  const asked = { timeoutSeconds: 101, maxMemoryMb: 513, maxOutputBytes: 2001 };
  t.throws(() => requireAllowed(asked, session, config), {
    code: 'VALIDATION_FAILED',
    errors: [
      { where: '/body/constraints/timeoutSeconds', given: 101, rule: 'must be at most 100 on this service' },
      { where: '/body/constraints/maxMemoryMb', given: 513, rule: 'must be at most 512 in this session' },
      {
        where: '/body/constraints/maxOutputBytes',
        given: 2001,
        rule: 'must be at most 2000 on this service',
      },
    ],
  });
});

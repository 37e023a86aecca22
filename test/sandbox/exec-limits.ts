import t from 'tap';
import { checkSessionEnv, checkTaskProgram } from '../../src/sandbox/exec-limits.js';

const env = (count: number, bytes: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, n) => [`V${n}`, 'x'.repeat(bytes)]));

t.test('what the kernel would take is let through', async () => {
  checkSessionEnv({});
  checkSessionEnv(env(31, 32_768));
  checkTaskProgram({});
  checkTaskProgram({ command: 'x'.repeat(131_071) });
  checkTaskProgram({ command: ['echo', ...Array(4095).fill('x'.repeat(150))], env: env(1, 100) });
});

for (const [what, check, said] of [
  [
    'a long line',
    () => checkTaskProgram({ command: 'x'.repeat(131_072) }),
    /command: .*131071 .*has 131072.*stdin/,
  ],
  [
    'a long argument',
    () => checkTaskProgram({ command: ['echo', 'é'.repeat(65_536)] }),
    /command\/1: .*has 131072/,
  ],
  [
    'a long variable',
    () => checkTaskProgram({ env: { X: '€'.repeat(43_690) } }),
    /env\/X: .*has 131072.*file/,
  ],
  [
    'many arguments',
    () => checkTaskProgram({ command: Array(4096).fill('x'.repeat(200)) }),
    /arguments: .*in all/,
  ],
  [
    'a large environment',
    () => checkSessionEnv(env(40, 32_768)),
    /\/body\/env: .*1048576.*programs can be started/,
  ],
  ['a long variable of a session', () => checkSessionEnv({ Y: '😀'.repeat(32_768) }), /env\/Y: .*131071/],
] as const) {
  t.test(`${what} is refused with its size, the limit and what to do`, async (t) => {
    t.throws(check, { code: 'VALIDATION_FAILED', message: said });
  });
}

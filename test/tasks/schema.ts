import { readFileSync } from 'node:fs';
import t from 'tap';
import { ENDING_CAUSES, statusOf } from '../../src/tasks/schema.js';

t.test('docs/endings.md has a row for every cause, with the status it leads to', async (t) => {
  const text = readFileSync(new URL('../../../docs/endings.md', import.meta.url), 'utf8');
  const rows = [...text.matchAll(/^\| `(\w+)` \| (.+?) \|/gm)].map(([, cause, status]) => ({
    cause,
    status,
  }));
  t.same(rows.map(({ cause }) => cause).sort(), [...ENDING_CAUSES].sort());
  for (const cause of ENDING_CAUSES) {
    const { status } = rows.find((row) => row.cause === cause)!;
    const expected =
      cause === 'exited'
        ? `\`${statusOf({ cause, exitCode: 0 })}\` with exit code 0, else \`${statusOf({ cause, exitCode: 1 })}\``
        : `\`${statusOf({ cause })}\``;
    t.equal(status, expected, cause);
  }
});

// What a person sees of a test run.
import { join } from 'node:path';
import type { Transform } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import t from 'tap';
import { root } from '../helpers/sources.js';

const { default: Reporter }: { default: new () => Transform } = await import(
  pathToFileURL(join(root, 'scripts/tap-reporter.mjs')).href
);

/** In small pieces, since a stream is cut anywhere. */
async function show(tap: string): Promise<string> {
  const reporter = new Reporter();
  const shown = text(reporter);
  for (const byte of Buffer.from(tap)) reporter.write(Buffer.of(byte));
  reporter.end();
  return shown;
}

t.test('a file that passes is one line', async (t) => {
  const shown = await show(`TAP version 14
# Subtest: build/test/a.js
    # Subtest: adds
        ok 1 - sum
        1..1
    ok 1 - adds # time=1.5ms
    1..1
ok 1 - build/test/a.js # time=20.4ms

1..1
# { total: 1, pass: 1 }
# time=30ms
`);
  t.equal(shown, 'ok      build/test/a.js (20 ms)\n# { total: 1, pass: 1 }\n');
});

t.test('a failure shows the way to it and its reason, once', async (t) => {
  const shown = await show(`# Subtest: build/test/a.js
    # Subtest: adds
        not ok 1 - größer
          ---
          diff: |
            -1
            +2
          at:
            lineNumber: 3
            generated:
              lineNumber: 99
          typeName: Test
          ...
        1..1
    not ok 1 - adds # time=1ms
      ---
      at:
        lineNumber: 2
      ...
not ok 1 - build/test/a.js # time=20ms
  ---
  command: node
  args:
    - a.js
  exitCode: 1
  ...
`);
  t.match(shown, 'FAILED: build/test/a.js › adds › größer');
  t.match(shown, /diff: \|\n +-1\n +\+2/);
  t.match(shown, 'NOT OK  build/test/a.js (20 ms)');
  t.match(shown, 'exitCode: 1');
  t.notMatch(shown, /99|typeName|a\.js\n.*a\.js\n.*FAILED.*adds\n/);
  t.equal(shown.match(/FAILED/g)?.length, 1);
});

t.test('a skipped test shows why', async (t) => {
  const shown = await show(`# Subtest: build/test/a.js
    ok 1 - freezes # SKIP needs cgroup v2
    ok 2 - thaws # SKIP
ok 1 - build/test/a.js # time=20ms
`);
  t.match(shown, 'skipped: freezes: needs cgroup v2');
  t.match(shown, 'skipped: thaws: no reason given');
});

// The warm interpreter is `python3`: some three hundred programs do in it what they do there.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { compareWithPython3, knownDifferences, pythonPrograms } from '../../helpers/as-python3.js';
import { sandboxSpec, startDriver } from '../../helpers/sandboxes.js';

const driver = await startDriver(t);

t.test('programs do what they do in python3, the first time and the second', async (t) => {
  const sandbox = await driver.create(sandboxSpec());
  const programs = pythonPrograms().filter(
    ({ title }) => !process.env.TEST_PROGRAMS || title.includes(process.env.TEST_PROGRAMS),
  );
  await compareWithPython3(t, sandbox, programs, {
    atOnce: 4,
    differences: knownDifferences(),
    inTurn: true,
  });
});

t.test('each difference is of a program there is, and explained in the documentation', async (t) => {
  const titles = new Set(pythonPrograms().map(({ title }) => title));
  const page = readFileSync(fileURLToPath(new URL('../../../../docs/python.md', import.meta.url)), 'utf8');
  for (const { programs, why } of knownDifferences()) {
    for (const title of programs) t.ok(titles.has(title), title);
    t.ok(page.includes(why), why);
  }
});

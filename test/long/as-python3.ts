// Each program that the short form runs as code or as a file, as both.
import t from 'tap';
import { compareWithPython3, knownDifferences, pythonPrograms } from '../helpers/as-python3.js';
import { sandboxSpec, startDriver } from '../helpers/sandboxes.js';

const driver = await startDriver(t);

t.test('programs do what they do in python3, as code and as files', async (t) => {
  const sandbox = await driver.create(sandboxSpec());
  await compareWithPython3(t, sandbox, pythonPrograms(), {
    atOnce: 4,
    differences: knownDifferences(),
    inTurn: false,
  });
});

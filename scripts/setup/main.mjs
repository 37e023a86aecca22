// The steps from a fresh clone to something that runs: Debian packages, node_modules, the build, the test runner.
import { build, isBuilt } from '../build.mjs';
import { installModules, modulesMatch } from './modules.mjs';
import { takeTurn } from './one-at-a-time.mjs';
import { root, SetupError, say } from './say.mjs';
import { bubblewrapTooOld, installSystemPackages, missingSystemPackages } from './system.mjs';
import { buildTap, tapIsBuilt } from './tap.mjs';

/** `goal` is what follows: `start` runs without a sandbox (and refuses tasks), `test` does not. */
export async function prepare(goal) {
  try {
    if (isReady(goal)) return;
    const endTurn = await takeTurn(root);
    try {
      prepareSystem(goal);
      if (!modulesMatch()) installModules();
      if (!isBuilt()) {
        say('compiling');
        if (build() !== 0) throw new SetupError('the sources do not compile; the errors are above.');
      }
      if (goal === 'test' && !tapIsBuilt()) buildTap();
    } finally {
      endTurn();
    }
  } catch (error) {
    if (!(error instanceof SetupError)) throw error;
    say(error.message);
    process.exitCode = 1;
  }
}

function isReady(goal) {
  return (
    missingSystemPackages().length === 0 &&
    !bubblewrapTooOld() &&
    modulesMatch() &&
    isBuilt() &&
    (goal === 'start' || tapIsBuilt())
  );
}

function prepareSystem(goal) {
  const missing = missingSystemPackages();
  const problem = (missing.length > 0 && installSystemPackages(missing)) || bubblewrapTooOld();
  if (!problem) return;
  if (goal === 'test') throw new SetupError(`${problem} The tests need a real sandbox.`);
  say(`WARNING: ${problem} The service starts, and refuses tasks until then.`);
}

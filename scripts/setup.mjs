// `prestart` and `pretest`: makes a fresh clone ready, and is quick when it is. `node scripts/setup.mjs start|test`.
// Nothing is imported before the version is known, so that an old Node gives the reason and not a syntax error.
const wanted = [20, 19];
const found = process.versions.node.split('.').map(Number);
if (found[0] < wanted[0] || (found[0] === wanted[0] && found[1] < wanted[1])) {
  console.error(`setup: Node ${wanted.join('.')} or newer is needed; this is ${process.version}.`);
  console.error('setup: get it from https://nodejs.org or your version manager, then run the command again.');
  process.exitCode = 1;
} else {
  import('./setup/main.mjs').then(
    (setup) => setup.prepare(process.argv[2] === 'test' ? 'test' : 'start'),
    (error) => {
      console.error(error);
      process.exitCode = 1;
    },
  );
}

// The quick start of the README, as it stands there, against a running service; and what it shows is what comes.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { promisify } from 'node:util';
import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { readOurs } from '../helpers/sources.js';
import { startService } from '../helpers/world.js';

const BETWEEN = '--- next ---';
const missing = ['/usr/bin/curl', '/usr/bin/python3'].filter((program) => !existsSync(program));

t.test(
  'the quick start works as it is shown',
  { skip: missing.length > 0 && `needs ${missing}` },
  async (t) => {
    const readme = readOurs('README.md');
    const steps = [
      ...readme.matchAll(/```sh\n([^`]*?localhost:8080[^`]*?|[^`]*?\bapi [^`]*?)```\n```\n([\s\S]*?)```/g),
    ];
    t.equal(steps.length, 5);
    const index = await startPackageIndex(t);
    const { url } = await startService(t, { PIP_INDEX_URL: index.url });
    const script = steps.map(([, commands]) => commands).join(`echo '${BETWEEN}'\n`);
    const { stdout, stderr } = await promisify(execFile)('bash', [
      '-c',
      script.replaceAll('localhost:8080', new URL(url).host),
    ]);
    t.equal(stderr, '');
    const outputs = stdout.split(`${BETWEEN}\n`);
    for (const [step, [, commands, shown]] of steps.entries()) {
      t.match(outputs[step], toPattern(shown ?? ''), `${commands}`);
    }
  },
);

/** `…` is anything; times are of another day, and numbers of events and places in the queue tell
 *  how long tasks have waited. */
function toPattern(shown: string): RegExp {
  const literal = shown
    .trim()
    .replace(/\d{4}-\d\d-\d\dT[\d:.]+Z/g, '…')
    .replace(/^id: \d+$|"(?:seq|position)":\d+/gm, '…');
  const parts = literal.split('…').map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'));
  return new RegExp(`^${parts.join('[\\s\\S]*?')}\\s*$`);
}

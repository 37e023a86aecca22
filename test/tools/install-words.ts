import t from 'tap';
import { NAME_UNKNOWN, NOT_LISTED } from '../../src/sandbox/egress-refusal.js';
import { installFailure } from '../../src/tools/install-words.js';

t.test('each reason of the proxy has its own words, and names the setting to look at', async (t) => {
  const index = 'index.example:443';
  const files = 'files.example:443';
  const say = (...refused: { host: string; reason: string }[]) => installFailure(refused, 'no luck', index);
  t.equal(say(), 'pip could not install: no luck');
  t.match(say({ host: files, reason: NOT_LISTED }), /sent to files\.example:443, where.*pip said: no luck$/);
  t.match(say({ host: files, reason: NAME_UNKNOWN }), /look up files\.example:443;.*PIP_FILE_HOSTS/);
  t.match(
    say({ host: index, reason: 'too much' }),
    /index\.example:443 was refused: too much;.*PIP_INDEX_URL/,
  );
  const both = say({ host: files, reason: NOT_LISTED }, { host: index, reason: NAME_UNKNOWN });
  t.match(both, /sent to files\.example:443, .*look up index\.example:443; /);
});

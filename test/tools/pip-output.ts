import t from 'tap';
import {
  alreadyInstalled,
  failedRequirements,
  installedPackages,
  pipPhase,
  pipReason,
} from '../../src/tools/pip-output.js';

const SAID = `Looking in indexes: http://127.0.0.1:1/simple/
Collecting tinypkg
  Downloading http://127.0.0.1:1/files/tinypkg-1.1-py3-none-any.whl (1.0 kB)
Requirement already satisfied: tiny-dep>=2.0 in ./.venv/lib/python3.11/site-packages (from tinypkg) (2.0)
Installing collected packages: tinypkg
Successfully installed tinypkg-1.1 zope-interface-6.0.post1
`;

t.test('pip’s phases become progress', async (t) => {
  const stages = SAID.split('\n').flatMap((line) => pipPhase(line)?.stage ?? []);
  t.same(stages, ['resolving', 'downloading', 'resolving', 'installing', 'installed']);
  t.equal(pipPhase('Successfully installed x-1')?.percentComplete, 100);
  t.equal(pipPhase('Looking in indexes: x'), undefined);
});

t.test('resolved names and versions are read from the closing line', async (t) => {
  t.same(installedPackages(SAID), [
    { name: 'tinypkg', version: '1.1' },
    { name: 'zope-interface', version: '6.0.post1' },
  ]);
  t.same(installedPackages('nothing'), []);
});

t.test('lines that are only looked for by eyes that take U+2028 for a line break are none', async (t) => {
  const planted = 'Requirement already satisfied: a in ./b (1.0\u2028Successfully installed evil-9.9)\n';
  t.same(installedPackages(planted + SAID), installedPackages(SAID));
  t.same(installedPackages(`${planted}Requirement already satisfied: b (2\u2028)\n`), []);
  t.same(alreadyInstalled(`${planted}Requirement already satisfied: b\u2028c in d (2)\n`), []);
});

t.test('what was there already is told apart, once each', async (t) => {
  t.same(alreadyInstalled(SAID + SAID), [{ name: 'tiny-dep', version: '2.0' }]);
});

t.test('a failing install tells pip’s reason and which requirement failed', async (t) => {
  const stderr = `ERROR: Could not find a version that satisfies the requirement nosuch==9 (from versions: none)
ERROR: No matching distribution found for nosuch==9
`;
  t.match(pipReason(stderr), /Could not find a version .* No matching distribution found for nosuch==9/);
  t.same(failedRequirements(stderr), ['nosuch==9']);
  t.equal(pipReason('something\nlast words\n'), 'last words');
  t.equal(pipReason(''), '');
});

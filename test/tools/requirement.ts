import t from 'tap';
import { isRequirement, splitRequirements } from '../../src/tools/requirement.js';

const accepted = [
  'requests',
  'flask==2.3.0',
  'Flask_SQLAlchemy>=3.0,<4',
  'uvicorn[standard] >= 0.20 ; python_version < "3.12"',
  'a',
  'zope.interface~=6.0',
  'torch==2.0.1+cpu',
  'x (>=1.0)',
  'pkg[a, b]!=1.*; (sys_platform == "linux" and extra != \'dev\')',
  'numpy===1.26.0',
];

const refused = [
  '--index-url=http://evil.example',
  '-r /etc/passwd',
  '-e .',
  'git+https://example.com/x.git',
  'https://example.com/x.whl',
  'x @ https://example.com/x.whl',
  './local',
  '/etc',
  '../up',
  'x --hash=sha256:0',
  'x; python_version < "3" --pre',
  'x;rm -rf /',
  'x==1.0 y',
  'x\n--pre',
  'file:///etc/passwd',
  '',
  ' x',
  'x==',
  '.x',
  'x=1',
  '$(id)',
  'a'.repeat(600),
];

for (const text of accepted) {
  t.test(`"${text}" is a requirement`, async (t) => t.equal(isRequirement(text), true));
}
for (const text of refused) {
  t.test(`option injection: ${JSON.stringify(text.slice(0, 40))} is refused`, async (t) =>
    t.equal(isRequirement(text), false),
  );
}

t.test('text is read as a requirements file: blank lines and comments are nothing', async (t) => {
  t.same(splitRequirements('requests\n\n# why\nflask==2.3.0  # pinned\r\n  tinypkg '), [
    'requests',
    'flask==2.3.0',
    'tinypkg',
  ]);
});

t.test('a hostile specifier is judged at once', async (t) => {
  const start = performance.now();
  isRequirement(`x${' '.repeat(250)}(${' '.repeat(250)}`);
  isRequirement(`x; ${'('.repeat(500)}`);
  isRequirement(`x; ${"extra == 'a' and ".repeat(29)}!`);
  t.ok(performance.now() - start < 1000, 'no backtracking that grows without bound');
});

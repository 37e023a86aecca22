import t from 'tap';
import { type HostFacts, judge, ownNamespaces, type ProbeFacts } from '../../src/sandbox/probe-judge.js';

const none = '0000000000000000';
const host: HostFacts = { uid: 200_001, namespaces: { user: 'user:[1]', net: 'net:[2]' } };
const good: ProbeFacts = {
  python: '3.11.2',
  uid: 1000,
  gid: 1000,
  capabilities: { CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none },
  noNewPrivileges: true,
  seccomp: true,
  namespaces: { user: 'user:[8]', net: 'net:[9]' },
  processes: 1,
  interfaces: ['lo'],
  environment: ['LC_CTYPE', 'PWD'],
  visible: [],
  written: { '/': 'EROFS', '/usr': 'EROFS' },
  settings: { '/proc/sys/kernel/core_pattern': 'EACCES' },
  newUserNamespace: 'EPERM',
  workspace: null,
  temporary: null,
};

const failed = (inside: Partial<ProbeFacts>, outside: Partial<HostFacts> = {}) =>
  judge({ ...good, ...inside }, { ...host, ...outside })
    .filter(({ ok }) => !ok)
    .map(({ name }) => name);

t.test('a sandbox that keeps every promise passes', async (t) => {
  t.same(failed({}), []);
});

const CARELESS: readonly [string, Partial<ProbeFacts>, Partial<HostFacts>][] = [
  ['uid', {}, { uid: 0 }],
  ['uid', {}, { uid: null }],
  ['uid', { uid: 0 }, {}],
  ['namespaces', { namespaces: { user: 'user:[8]', net: 'net:[2]' } }, {}],
  ['capabilities', { capabilities: { ...good.capabilities, CapBnd: '000001ffffffffff' } }, {}],
  ['capabilities', { capabilities: { CapEff: '?' } }, {}],
  ['noNewPrivileges', { noNewPrivileges: false }, {}],
  ['seccomp', { seccomp: false }, {}],
  ['processes', { processes: 120 }, {}],
  ['hostFiles', { visible: ['/etc/shadow'] }, {}],
  ['readOnly', { written: { '/': null } }, {}],
  ['kernelSettings', { settings: { '/proc/sys/kernel/core_pattern': null } }, {}],
  ['network', { interfaces: ['lo', 'eth0'] }, {}],
  ['environment', { environment: ['API_KEYS', 'PWD'] }, {}],
  ['userNamespaces', { newUserNamespace: null }, {}],
  ['workspace', { workspace: 'EACCES' }, {}],
];

for (const [name, inside, outside] of CARELESS) {
  t.test(`a careless sandbox fails: ${name} ${JSON.stringify({ ...inside, ...outside })}`, async (t) => {
    t.same(failed(inside, outside), [name]);
  });
}

t.test('the namespaces of this process are known by their links', async (t) => {
  t.match(ownNamespaces().net, /^net:\[\d+\]$/);
});

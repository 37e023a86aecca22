import t from 'tap';
import { judge, type OutsideFacts, type ProbeFacts } from '../../src/sandbox/probe-judge.js';

const none = '0000000000000000';
const links = (number: number) =>
  Object.fromEntries(
    ['user', 'pid', 'mnt', 'net', 'ipc', 'uts'].map((name) => [name, `${name}:[${number}]`]),
  );
const own = links(1);
const seen: OutsideFacts = { uid: 200_001, namespaces: links(7) };
const good: ProbeFacts = {
  python: '3.11.2',
  uid: 1000,
  gid: 1000,
  capabilities: { CapInh: none, CapPrm: none, CapEff: none, CapBnd: none, CapAmb: none },
  noNewPrivileges: true,
  seccomp: true,
  namespaces: links(8),
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

const failed = (
  inside: Partial<ProbeFacts>,
  outside: Partial<OutsideFacts> = {},
  way = { userNamespace: true },
) =>
  judge({ ...good, ...inside }, { ...seen, ...outside }, own, way)
    .filter(({ ok }) => !ok)
    .map(({ name }) => name);

t.test('a sandbox that keeps every promise passes', async (t) => {
  t.same(failed({}), []);
});

const CARELESS: readonly [string, Partial<ProbeFacts>, Partial<OutsideFacts>][] = [
  ['uid', {}, { uid: 0 }],
  ['uid', {}, { uid: null }],
  ['uid', { uid: 0 }, {}],
  ['namespaces', { namespaces: { ...links(8), net: 'net:[1]' } }, {}],
  ['namespaces', {}, { namespaces: { ...links(7), ipc: 'ipc:[1]' } }],
  ['namespaces', { namespaces: {} }, { namespaces: {} }],
  ['namespaces', { namespaces: links(1) }, { namespaces: {} }],
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

t.test('a user namespace of its own is asked for only where it was promised', async (t) => {
  const namespaces = { ...links(8), user: 'user:[1]' };
  t.same(failed({ namespaces }, { namespaces }), ['namespaces']);
  t.same(failed({ namespaces }, { namespaces }, { userNamespace: false }), []);
});

t.test('where there is no /proc inside, what is seen from outside counts', async (t) => {
  t.same(failed({ namespaces: {}, processes: 0 }), []);
});

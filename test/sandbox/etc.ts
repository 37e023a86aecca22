// What sandboxes see of /etc: enough for the programs they see, and nothing that is not for everybody.
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { COPIED_FROM_ETC, fillEtc } from '../../src/sandbox/etc.js';
import { run, sandboxSpec, startDriver } from '../helpers/sandboxes.js';

const need = (path: string) => ({ skip: existsSync(path) ? false : `needs ${path}` });

t.test('programs that are visible find their settings', async (t) => {
  const driver = await startDriver(t, { etc: ['debconf.conf'] });
  const sandbox = await driver.create(sandboxSpec());
  const python = async (code: string) => {
    const { stdout, stderr } = await run(sandbox, code);
    t.equal(stderr, '');
    return stdout;
  };
  await t.test('services', need('/etc/services'), async (t) => {
    t.equal(await python('import socket; print(socket.getservbyname("http"))'), '80\n');
  });
  await t.test('protocols', need('/etc/protocols'), async (t) => {
    t.equal(await python('import socket; print(socket.getprotobyname("tcp"))'), '6\n');
  });
  await t.test('OpenSSL', need('/etc/ssl/openssl.cnf'), async (t) => {
    const made = [
      'req',
      '-x509',
      '-newkey',
      'ed25519',
      '-nodes',
      '-subj',
      '/CN=x',
      '-keyout',
      'k',
      '-out',
      'c',
    ];
    const { end, stderr } = await run(sandbox, ['openssl', ...made]);
    t.same(end.how, { kind: 'exited', exitCode: 0 }, stderr);
  });
  await t.test('Java', need('/usr/bin/java'), async (t) => {
    const { end, stderr } = await run(sandbox, ['java', '-XX:+UseSerialGC', '-Xmx64m', '-version']);
    t.same(end.how, { kind: 'exited', exitCode: 0 }, stderr);
  });
  await t.test('fonts', need('/usr/bin/fc-match'), async (t) => {
    t.notMatch((await run(sandbox, ['fc-match'])).stderr, /Cannot load default config/);
  });
  await t.test('what the operator named', need('/etc/debconf.conf'), async (t) => {
    t.equal(
      await python('print(open("/etc/debconf.conf").read(), end="")'),
      readFileSync('/etc/debconf.conf', 'utf8'),
    );
  });
  await t.test('who is who, as before, and what is bound as it is', async (t) => {
    t.equal(
      await python('import getpass, socket; print(getpass.getuser(), socket.gethostbyname("sandbox"))'),
      'sandbox 127.0.0.1\n',
    );
    t.equal(
      await python('import ssl; print(len(ssl.create_default_context().get_ca_certs()) > 0)'),
      'True\n',
    );
    t.match((await run(sandbox, ['ls', '/etc'])).stdout, /alternatives/);
  });
  await t.test('nothing of it can be changed, and nothing is there that is not for everybody', async (t) => {
    const attempts = `
import os
for path in ('/etc/services', '/etc/passwd', '/etc/new', '/etc/ssl/new'):
    try: open(path, 'a'); print('wrote', path)
    except OSError as error: pass
seen = sorted(os.listdir('/etc'))
print([name for name in seen if name in ('shadow', 'gshadow', 'pip.conf', 'npmrc', 'gitconfig', 'resolv.conf', 'hostname', 'machine-id', 'ssh', 'subuid')])
print([os.path.join(at, name) for at, _, names in os.walk('/etc') for name in names if '/private' in at])`;
    t.equal(await python(attempts), '[]\n[]\n');
  });
  await sandbox.remove();
});

t.test('a name that is not there, or not for everybody, is refused with the rule', async (t) => {
  const target = mkdtempSync(join(tmpdir(), 'codegen-worker-etc-'));
  t.teardown(() => rmSync(target, { recursive: true, force: true }));
  for (const name of [
    'shadow',
    'gshadow',
    'not-there',
    '../root',
    'ssl/../shadow',
    '/etc/services',
    '',
    '.',
    'ssl/private/x',
  ]) {
    await t.rejects(
      fillEtc(join(target, 'etc'), {}, [], [name]),
      { message: /SANDBOX_ETC: .* must be below \/etc/ },
      name,
    );
  }
  t.ok(COPIED_FROM_ETC.every((name) => !/shadow|private|ssh|passwd/.test(name)));
});

t.test('links that lead to visible places stay links', need('/etc/os-release'), async (t) => {
  const target = mkdtempSync(join(tmpdir(), 'codegen-worker-etc-'));
  t.teardown(() => rmSync(target, { recursive: true, force: true }));
  await fillEtc(target, { hosts: 'mine' }, ['/etc/localtime'], []);
  t.equal(readlinkSync(join(target, 'os-release')), '/usr/lib/os-release');
  t.equal(readFileSync(join(target, 'hosts'), 'utf8'), 'mine');
  t.equal(readFileSync(join(target, 'localtime'), 'utf8'), '', 'a place for what is bound');
});

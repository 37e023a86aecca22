// pip runs with a way to the package index that the session does not have, in a workspace that the session wrote.
import t from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { startService } from '../helpers/world.js';

const PLANT = `import os, sysconfig
packages = sysconfig.get_path("purelib")
programs = "/workspace/.venv/bin"
mark = 'open("/workspace/ran-" + {name!r}, "w").close(); print("ran beside pip")\\n'
def plant(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file: file.write(text)
    os.chmod(path, 0o755)
for name in ["_manylinux", "socks", "keyring", "sitecustomize", "usercustomize", "pip", "brotli", "simplejson"]:
    plant(f"{packages}/{name}.py", mark.format(name=name))
plant(f"{packages}/planted.pth", "import _manylinux, socks\\n")
for name in ["lsb_release", "rustc", "keyring", "git"]:
    plant(f"{programs}/{name}", f"#!/bin/sh\\ntouch /workspace/ran-program-{name}\\n")
print(packages)`;

t.test('pip-imports: nothing that a session planted runs beside pip', async (t) => {
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const { sessionId } = await world.session();
  t.match(await world.python(sessionId, PLANT), {
    status: 'success',
    outputs: { stdout: /^\/workspace\/\.venv\/lib\/python3\.\d+\/site-packages\n$/ },
  });

  const task = await world.run(sessionId, 'pkg.install', { requirements: ['tinypkg==1.0'] });
  t.equal(task.status, 'success', JSON.stringify(task.ending));
  t.notMatch(task.outputs?.stdout, /ran beside pip/);
  const left = await world.run(sessionId, 'run.command', {
    command: 'find /workspace -name "ran-*"',
  });
  t.match(left, { status: 'success', outputs: { stdout: '' } });
  t.equal(left.outputs?.stdout, '');
});

const SETTINGS = `import os
def plant(path, text):
    path = f"/workspace/{path}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file: file.write(text)
    os.chmod(path, 0o600)
for name in [".netrc", "_netrc"]:
    plant(name, "machine 127.0.0.1 login planted password planted\\n")
for path in [".config/pip/pip.conf", ".pip/pip.conf", ".venv/pip.conf"]:
    plant(path, "[global]\\nindex-url = http://127.0.0.1:1/\\nextra-index-url = http://127.0.0.1:1/\\n[install]\\nno-deps = true\\n")
`;

t.test('pip-settings: pip takes no settings and no passwords from a session', async (t) => {
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const { sessionId } = await world.session({
    env: {
      PIP_INDEX_URL: 'http://127.0.0.1:1/',
      PIP_NO_DEPS: '1',
      PIP_CONFIG_FILE: '/workspace/.pip/pip.conf',
      NETRC: '/workspace/.netrc',
    },
  });
  t.match(await world.python(sessionId, SETTINGS), { status: 'success' });
  const task = await world.run(sessionId, 'pkg.install', { requirements: ['tinypkg==1.0'] });
  t.match(task, { status: 'success', outputs: { installed: [{ name: 'tinydep' }, { name: 'tinypkg' }] } });
  t.same(index.passwords, []);
});

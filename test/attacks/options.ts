// Words that a program behind us could take for its options, and environments that change what a program does.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import t, { type Test } from 'tap';
import { startPackageIndex } from '../helpers/package-index.js';
import { startService } from '../helpers/world.js';

async function listeningTrap(t: Test): Promise<{ url: string; seen: string[] }> {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(request.url ?? '');
    response.end();
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => server.close());
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, seen };
}

t.test(
  'options-as-requirements: pip gets names and versions, never an option, path or address',
  async (t) => {
    const trap = await listeningTrap(t);
    const index = await startPackageIndex(t);
    const world = await startService(t, { PIP_INDEX_URL: index.url });
    const { sessionId } = await world.session();
    for (const requirement of [
      '-e .',
      '-r requirements.txt',
      `--index-url=${trap.url}`,
      `-i${trap.url}`,
      `--extra-index-url ${trap.url}`,
      '--target=/etc',
      '--python=/bin/sh',
      `tinypkg @ ${trap.url}/a.whl`,
      'tinypkg @ file:///etc/passwd',
      'git+https://evil.example/a.git',
      './local',
      '/etc/passwd',
      'tinypkg --hash=sha256:0',
      'tinypkg --config-settings=a=b',
      `tinypkg\t-i ${trap.url}`,
      'tinypkg; import os',
      '–index-url=x',
      'tinypkg\u0000',
      'tinypkg\u2028-e .',
    ]) {
      const reply = await world.call('POST', `/v1/sessions/${sessionId}/tasks?wait=30`, {
        tool: 'pkg.install',
        arguments: { requirements: [requirement] },
      });
      t.equal(reply.status, 400, encodeURIComponent(requirement));
    }
    const asText = await world.call('POST', `/v1/sessions/${sessionId}/tasks`, {
      tool: 'pkg.install',
      arguments: { requirements: `tinypkg==1.0\n--index-url ${trap.url}` },
    });
    t.equal(asText.status, 400);
    t.same(trap.seen, []);
    t.same(index.requests, []);
  },
);

t.test(
  'options-as-arguments: a word is handed on as it is, and belongs to the program that was named',
  async (t) => {
    const world = await startService(t);
    const { sessionId } = await world.session();
    const stdout = async (tool: string, args: Record<string, unknown>) =>
      (await world.run(sessionId, tool, args)).outputs?.stdout;
    t.equal(
      await stdout('run.command', { command: ['echo', '--', '-e', '$(id)', '`id`', '; id', '*'] }),
      '-- -e $(id) `id` ; id *\n',
    );
    t.equal(
      await stdout('run.python', { code: 'import sys; print(sys.argv)', args: ['-c', '-m', '--', '-I'] }),
      "['-c', '-c', '-m', '--', '-I']\n",
    );
    for (const file of ['-c', '-m', '--version', '-']) {
      await world.writeFile(sessionId, file, `print("the file ${file}")`);
      t.equal(await stdout('run.python', { file }), `the file ${file}\n`);
    }
    for (const cwd of ['-P', '--help']) {
      await world.run(sessionId, 'fs.mkdir', { path: cwd });
      t.equal(await stdout('run.command', { command: 'pwd', cwd }), `/workspace/${cwd}\n`);
    }
  },
);

t.test('environments: what a session sets is its own programs’ business, and nobody else’s', async (t) => {
  const trap = await listeningTrap(t);
  const index = await startPackageIndex(t);
  const world = await startService(t, { PIP_INDEX_URL: index.url });
  const env = {
    LD_PRELOAD: '/workspace/evil.so',
    LD_LIBRARY_PATH: '/workspace',
    LD_AUDIT: '/workspace/evil.so',
    GCONV_PATH: '/workspace',
    PATH: '/workspace/bin',
    PYTHONSTARTUP: '/workspace/evil.py',
    PYTHONPATH: '/workspace',
    PYTHONHOME: '/workspace',
    PYTHONINSPECT: '1',
    BASH_ENV: '/workspace/evil.sh',
    ENV: '/workspace/evil.sh',
    IFS: '/',
    HOME: '/',
    TMPDIR: '/workspace/nowhere',
    PIP_INDEX_URL: trap.url,
    PIP_EXTRA_INDEX_URL: trap.url,
    PIP_CONFIG_FILE: '/workspace/pip.conf',
    PIP_TARGET: '/workspace/stolen',
    HTTP_PROXY: trap.url,
    HTTPS_PROXY: trap.url,
    ALL_PROXY: trap.url,
    REQUESTS_CA_BUNDLE: '/workspace/ca.pem',
    NODE_OPTIONS: '--require /workspace/evil.js',
    DATA_DIR: '/workspace',
    API_KEYS: '',
  };
  const { sessionId } = await world.session({ env });
  const other = await world.session();
  for (const name of ['evil.py', 'sitecustomize.py', 'json.py', 'os.py', 'encodings.py']) {
    await world.writeFile(
      sessionId,
      name,
      'open("/workspace/was-run", "a").write("x")\nraise SystemExit(99)\n',
    );
  }
  await world.writeFile(sessionId, 'pip.conf', `[global]\nindex-url = ${trap.url}\n`);
  for (const name of ['python3', 'sh', 'pip', 'true']) {
    await world.writeFile(sessionId, `bin/${name}`, '#!/bin/sh\n/bin/touch /workspace/was-run\nexit 99\n');
  }

  // Its own files, checkpoints and installs are made by us, and obey nothing of it.
  t.equal(await world.readFile(sessionId, 'pip.conf'), `[global]\nindex-url = ${trap.url}\n`);
  const checkpoint = await world.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
  t.equal(checkpoint.status, 201, JSON.stringify(checkpoint.body));
  const installed = await world.run(sessionId, 'pkg.install', { requirements: ['tinypkg==1.0'] });
  t.match(installed, { status: 'success', outputs: { exitCode: 0 } }, JSON.stringify(installed.ending));
  t.ok(index.requests.length > 0);
  t.same(trap.seen, []);
  const entries = await world.run(sessionId, 'fs.list', { path: '.' });
  const names = ((entries.outputs?.entries ?? []) as { name: string }[]).map(({ name }) => name);
  t.notOk(names.includes('was-run'), 'none of our own steps ran a file of the session');
  t.notOk(names.includes('stolen'));

  // Its programs see what it set, and the next session none of it.
  const seen = await world.run(sessionId, 'run.command', { command: ['/usr/bin/printenv', 'PATH'] });
  t.equal(seen.outputs?.stdout, '/workspace/bin\n', JSON.stringify(seen));
  const python = await world.python(sessionId, 'print(1)');
  t.match(python.outputs?.stderr, "PYTHONHOME = '/workspace'", 'as python3 does with such a home');
  const beside = await world.python(
    other.sessionId,
    'import os; print(sorted(name for name in os.environ if "PRELOAD" in name or "PIP" in name))',
  );
  t.equal(beside.outputs?.stdout, '[]\n');
});

import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';

const CLI = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function cli(args: string[], env: Record<string, string> = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [CLI, ...args], { env: { ...process.env, ...env } });
    let stdout = '';
    let stderr = '';
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
    });
    child.stderr.on('data', (chunk) => {
      stderr += chunk;
    });
    child.on('error', reject).on('close', (code) => resolve({ code, stdout, stderr }));
  });
}

t.test('version is that of the package', async (t) => {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  for (const word of ['version', '--version']) {
    t.match(await cli([word]), { code: 0, stdout: `${version}\n`, stderr: '' });
  }
});

t.test('help lists the commands', async (t) => {
  for (const word of ['help', '--help', '-h']) {
    t.match(await cli([word]), { code: 0, stdout: /start[\s\S]*doctor[\s\S]*openapi/ });
  }
});

t.test('no command, or one that does not exist, is a wrong use', async (t) => {
  t.match(await cli([]), { code: 2, stdout: '', stderr: /^Usage/ });
  t.match(await cli(['strat']), { code: 2, stderr: /There is no command "strat"[\s\S]*Usage/ });
  t.match(await cli(['openapi', '--wirte']), { code: 2, stderr: /--write/ });
});

t.test('openapi prints the document and leaves nothing behind', async (t) => {
  const { code, stdout } = await cli(['openapi']);
  t.equal(code, 0);
  t.equal(JSON.parse(stdout).openapi, '3.1.0');
});

t.test('openapi --check is content with what is committed', async (t) => {
  t.match(await cli(['openapi', '--check']), { code: 0, stderr: '' });
});

t.test('wrong settings are told before anything is done', async (t) => {
  for (const command of ['start', 'doctor']) {
    t.match(await cli([command], { PORT: 'http' }), { code: 1, stderr: /PORT=http: must be integer/ });
  }
});

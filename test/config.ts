import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { ConfigError, describeSettings, isLoopback, loadConfig, Settings } from '../src/config.js';

function refusal(env: Record<string, string>): string {
  try {
    loadConfig(env);
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  return 'accepted';
}

t.test('an empty environment gives a service on loopback with paths below ./data', async (t) => {
  t.match(loadConfig({}), {
    HOST: '127.0.0.1',
    PORT: 8080,
    DATA_DIR: join(process.cwd(), 'data'),
    CHECKPOINT_DIR: join(process.cwd(), 'data', 'checkpoints'),
    API_KEYS: [],
    MAX_CPU_PERCENT: 100 * availableParallelism(),
    PIP_FILE_HOSTS: ['files.pythonhosted.org:443'],
  });
});

t.test('values are converted, lists split and paths made absolute', async (t) => {
  const config = loadConfig({
    PORT: '0',
    DATA_DIR: 'elsewhere',
    API_KEYS: ' first-key-of-sixteen , second-key-of-sixteen,',
    ALLOWED_HOSTS: 'Box.lan',
    ALLOWED_ORIGINS: 'https://App.example.com',
    PIP_INDEX_URL: 'http://127.0.0.1:3141/simple/',
    HOME: '/somewhere',
  });
  t.match(config, {
    PORT: 0,
    DATA_DIR: join(process.cwd(), 'elsewhere'),
    API_KEYS: ['first-key-of-sixteen', 'second-key-of-sixteen'],
    ALLOWED_HOSTS: ['box.lan'],
    ALLOWED_ORIGINS: ['https://app.example.com'],
    PIP_FILE_HOSTS: [],
  });
  t.notOk('HOME' in config, 'variables of others are not taken in');
});

t.test('a variable that is set to nothing counts as unset', async (t) => {
  t.equal(loadConfig({ PORT: '', LOG_LEVEL: '' }).PORT, 8080);
});

t.test('a wrong value is refused with its key, its value and the rule', async (t) => {
  for (const [env, message] of [
    [{ PORT: 'http' }, /^PORT=http: must be integer$/],
    [{ PORT: '70000' }, /^PORT=70000: must be <= 65535$/],
    [{ LOG_LEVEL: 'loud' }, /^LOG_LEVEL=loud: .*trace, debug, info/],
    [{ MAX_TIMEOUT_SECONDS: '2500000' }, /^MAX_TIMEOUT_SECONDS=2500000: must be <= 2000000$/],
    [{ MAX_SESSIONS: '0' }, /^MAX_SESSIONS=0: must be >= 1$/],
    [
      { ISOLATION_MAX: 'landlock' },
      /^ISOLATION_MAX=landlock: must not be weaker than ISOLATION_MIN, which is rootNoUserns$/,
    ],
    [{ DEFAULT_MEMORY_MB: '8192' }, /^DEFAULT_MEMORY_MB=8192: must be at most MAX_MEMORY_MB, which is 4096$/],
    [{ PIP_INDEX_URL: 'ftp://x/' }, /^PIP_INDEX_URL=/],
    [{ PIP_INDEX_URL: 'http://' }, /^PIP_INDEX_URL=http:\/\/: must be a URL$/],
    [{ PIP_FILE_HOSTS: 'files.example.com' }, /^PIP_FILE_HOSTS=files.example.com: must be host:port/],
    [{ ALLOWED_ORIGINS: 'app.example.com' }, /^ALLOWED_ORIGINS=app.example.com: must be origins/],
    [{ ALLOWED_ORIGINS: 'https://a.example/' }, /^ALLOWED_ORIGINS=/],
  ] as const) {
    t.match(refusal(env as unknown as Record<string, string>), message);
  }
});

t.test('every wrong value is told at once, one a line', async (t) => {
  t.equal(refusal({ PORT: 'x', MAX_SESSIONS: 'y' }).split('\n').length, 2);
});

t.test('beyond loopback the service does not start without keys', async (t) => {
  for (const HOST of ['0.0.0.0', '::', '10.0.0.1', 'box.lan', '127.0.0.1.evil.example']) {
    t.match(refusal({ HOST }), /^HOST=.* unless API_KEYS is set/, HOST);
    t.equal(refusal({ HOST, API_KEYS: 'a-key-of-sixteen-chars' }), 'accepted', HOST);
  }
  for (const HOST of ['127.0.0.1', '127.1.2.3', '::1', 'localhost']) t.equal(refusal({ HOST }), 'accepted');
});

t.test('a secret is never shown: neither a key nor the password of an index', async (t) => {
  const short = refusal({ API_KEYS: 'long-enough-key-number-one,hunter2' });
  t.match(short, /key number 2 must have at least 16 characters/);
  t.notMatch(short, /hunter2|long-enough/);
  t.notMatch(refusal({ API_KEYS: 'a key with spaces in it' }), /with spaces in it/);
  t.notMatch(refusal({ PIP_INDEX_URL: 'https://me:hunter2@[/' }), /hunter2/);
});

t.test('loopback is told by address, not by how it looks', async (t) => {
  for (const host of ['127.0.0.1', '127.255.255.254', '::1', 'localhost']) t.ok(isLoopback(host), host);
  for (const host of ['127.0.0.999', '127.1', '::ffff:10.0.0.1', 'localhost.', '', '1270.0.0.1']) {
    t.notOk(isLoopback(host), host);
  }
});

t.test('docs/configuration.md describes every setting as the code does', async (t) => {
  const page = readFileSync(new URL('../../docs/configuration.md', import.meta.url), 'utf8');
  t.ok(page.includes(describeSettings()), 'stale: run npm run generate');
  for (const [key, schema] of Object.entries(Settings.properties)) {
    t.ok((schema.description ?? '').length > 10, `${key} is described`);
  }
});

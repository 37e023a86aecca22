import t from 'tap';
import { loadConfig } from '../../src/config.js';
import { egressOf, resolveLimits, resolveNetwork, resolveSeconds } from '../../src/sessions/defaults.js';

const config = loadConfig({ MAX_MEMORY_MB: '1024', DEFAULT_MEMORY_MB: '256', MAX_CPU_PERCENT: '200' });

t.test('what is not asked for comes from the operator', async (t) => {
  t.match(resolveLimits({ cpuPercent: 150 }, config), { memoryMb: 256, cpuPercent: 150, timeoutSeconds: 60 });
});

t.test('more than the operator allows is refused with every limit that is beyond', async (t) => {
  t.throws(() => resolveLimits({ memoryMb: 1025, cpuPercent: 201 }, config), {
    errors: [
      { where: '/body/limits/memoryMb', given: 1025, rule: 'must be at most 1024 on this service' },
      { where: '/body/limits/cpuPercent', given: 201, rule: 'must be at most 200 on this service' },
    ],
  });
});

t.test('seconds: asked, else configured, where 0 says never', async (t) => {
  t.equal(resolveSeconds(5, 10), 5);
  t.equal(resolveSeconds(null, 10), null);
  t.equal(resolveSeconds(undefined, 10), 10);
  t.equal(resolveSeconds(undefined, 0), null);
});

t.test('an allowlist holds host names with ports, and nothing else', async (t) => {
  const config = { EGRESS_PRIVATE_HOSTS: ['models.internal:443'] };
  const network = resolveNetwork({ mode: 'allowlist', hosts: ['api.example.com', '*.example.org:8443'] });
  t.same(egressOf(network, config).allow, [
    'api.example.com:443',
    'api.example.com:80',
    '*.example.org:8443',
  ]);
  t.same(egressOf(network, config).mayBePrivate, ['models.internal:443']);
  for (const host of [
    'http://x',
    'a b',
    'x:99999',
    'x:0',
    '*',
    'user@x',
    '[::1]:80',
    'x/y',
    '',
    '999.1.1.1',
    'xn--a',
  ]) {
    t.throws(() => resolveNetwork({ mode: 'allowlist', hosts: [host] }), { code: 'VALIDATION_FAILED' }, host);
  }
  t.same(egressOf(resolveNetwork(undefined), config).allow, []);
  t.same(egressOf({ mode: 'none', hosts: ['x'] }, config).allow, []);
});

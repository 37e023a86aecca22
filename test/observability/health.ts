import t from 'tap';
import { checkHealth, type HealthOptions } from '../../src/observability/health.js';

const well: HealthOptions = {
  isClosing: () => false,
  probeStore: async () => {},
  isolation: () => ({ level: 'full', missing: [] }),
};

t.test('a service that can store and isolate is ready', async (t) => {
  t.strictSame(await checkHealth(well), { state: 'ready', isolation: 'full' });
});

t.test('the first reason against is told', async (t) => {
  const cause = new Error('disk I/O error');
  const broken = { ...well, probeStore: () => Promise.reject(cause) };
  t.strictSame(await checkHealth(broken), { state: 'storeUnavailable', cause });
  t.strictSame(await checkHealth({ ...broken, isClosing: () => true }), { state: 'closing' });
});

t.test('without isolation it says what is missing and how to mend it', async (t) => {
  const missing = [{ what: 'bubblewrap is not installed', fix: 'apt-get install bubblewrap' }];
  t.strictSame(await checkHealth({ ...well, isolation: () => ({ level: null, missing }) }), {
    state: 'isolationUnavailable',
    what: 'bubblewrap is not installed',
    fix: 'apt-get install bubblewrap',
  });
  t.match(await checkHealth({ ...well, isolation: () => ({ level: null, missing: [] }) }), { fix: /doctor/ });
});

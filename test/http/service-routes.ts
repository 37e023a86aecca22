import { pino } from 'pino';
import t, { type Test } from 'tap';
import { Problem } from '../../src/http/problem-schema.js';
import { buildServer } from '../../src/http/server.js';
import { countRequests, serviceRoutes } from '../../src/http/service-routes.js';
import { Alive, Isolation, Ready } from '../../src/http/service-schema.js';
import type { HealthOptions } from '../../src/observability/health.js';
import { Metrics } from '../../src/observability/metrics.js';
import type { IsolationReport } from '../../src/sandbox/sandbox.js';

const REPORT: IsolationReport = {
  level: 'full',
  minimum: 'rootNoUserns',
  checks: [{ name: 'network', ok: true, detail: 'no interface but loopback' }],
  tried: [{ level: 'full', ok: true, detail: 'every program gets namespaces of its own' }],
  enforced: {
    namespaces: ['user', 'pid', 'mnt', 'net', 'ipc', 'uts'],
    eachProgram: ['pid', 'mnt', 'ipc'],
    seccomp: true,
    uid: 'shared',
  },
  limits: { cgroup: 'v2', memory: 'cgroup', cpu: 'cgroup', processes: 'cgroup', disk: 'watcher' },
  missing: [],
  versions: { bubblewrap: '0.8.0' },
};

function service(t: Test, health: Partial<HealthOptions> = {}) {
  const app = buildServer({ jsonBodyBytes: 1024, log: pino({ level: 'silent' }), checkReplies: true });
  for (const schema of [Problem, Alive, Ready, Isolation]) app.addSchema(schema);
  const metrics = new Metrics();
  countRequests(app, metrics);
  app.register(serviceRoutes, {
    metrics,
    isolation: () => REPORT,
    health: { isClosing: () => false, probeStore: async () => {}, isolation: () => REPORT, ...health },
  });
  app.get('/v1/things/:id', async () => ({}));
  t.teardown(() => app.close());
  return app;
}

t.test('a service that can work is alive and ready, and shows its walls', async (t) => {
  const app = service(t);
  t.strictSame((await app.inject('/healthz')).json(), { status: 'alive' });
  t.strictSame((await app.inject('/readyz')).json(), { status: 'ready', isolation: 'full' });
  t.strictSame((await app.inject('/v1/isolation')).json(), REPORT);
});

t.test('one that cannot stays alive and says why it is not ready', async (t) => {
  for (const [health, code] of [
    [{ isClosing: () => true }, 'SHUTTING_DOWN'],
    [{ probeStore: () => Promise.reject(new Error('read-only')) }, 'STORE_UNAVAILABLE'],
    [
      { isolation: () => ({ level: null, missing: [{ what: 'no bwrap', fix: 'install it' }] }) },
      'ISOLATION_UNAVAILABLE',
    ],
  ] as const) {
    const app = service(t, health);
    t.match((await app.inject('/readyz')).json(), { status: 503, code });
    t.equal((await app.inject('/healthz')).statusCode, 200);
  }
});

t.test('requests are counted by route, so that ids do not multiply the series', async (t) => {
  const app = service(t);
  await app.inject('/v1/things/1');
  await app.inject('/v1/things/2');
  await app.inject('/nothing/here');
  const reply = await app.inject('/metrics');
  t.match(reply.headers['content-type'], /^text\/plain/);
  t.match(reply.payload, /duration_seconds_count\{method="GET",route="\/v1\/things\/:id",status="200"\} 2/);
  t.match(reply.payload, /duration_seconds_count\{method="GET",route="none",status="404"\} 1/);
});

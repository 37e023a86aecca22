import t from 'tap';
import { Metrics } from '../../src/observability/metrics.js';

t.test('what is reported is what a scraper reads', async (t) => {
  const metrics = new Metrics();
  metrics.taskEnded({ tool: 'run.python', status: 'success', cause: 'exited', durationMs: 40, queueMs: 3 });
  metrics.taskEnded({
    tool: 'run.python',
    status: 'timeout',
    cause: 'timedOut',
    durationMs: 1000,
    queueMs: null,
  });
  metrics.eventsAppended(3);
  metrics.requestServed({ method: 'GET', route: '/v1/sessions', status: 200, durationMs: 2 });
  const text = await metrics.render();
  t.match(text, 'codegen_worker_tasks_ended_total{tool="run.python",status="timeout",cause="timedOut"} 1');
  t.match(text, 'codegen_worker_task_duration_seconds_count{tool="run.python"} 2');
  t.match(text, 'codegen_worker_events_appended_total 3');
  t.match(text, 'route="/v1/sessions",status="200"} 1');
  t.match(text, 'nodejs_eventloop_lag_p99_seconds');
  t.match(text, 'process_resident_memory_bytes');
});

t.test('a gauge is read at the moment somebody asks', async (t) => {
  const metrics = new Metrics();
  let sockets = 1;
  metrics.watch('sockets', () => sockets);
  t.match(await metrics.render(), 'codegen_worker_sockets 1');
  sockets = 7;
  t.match(await metrics.render(), 'codegen_worker_sockets 7');
});

t.test('a state without sessions is 0 and not missing', async (t) => {
  const metrics = new Metrics();
  let counts: Record<string, number> = { ready: 2 };
  metrics.watchSessions(['ready', 'active'], () => counts);
  t.match(await metrics.render(), 'codegen_worker_sessions{state="active"} 0');
  counts = { active: 1 };
  const text = await metrics.render();
  t.match(text, 'codegen_worker_sessions{state="active"} 1');
  t.match(text, 'codegen_worker_sessions{state="ready"} 0');
});

t.test('two services in one process count each for itself', async (t) => {
  const [first, second] = [new Metrics(), new Metrics()];
  first.eventsAppended(5);
  t.match(await second.render(), 'codegen_worker_events_appended_total 0');
});

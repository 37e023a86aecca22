// What the service counts, for Prometheus. Domains speak to it in verbs and know nothing of registries.
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** CPU, memory, file descriptors and event loop delay belong to the process, however many services it holds. */
let processRegistry: Registry | undefined;

function processMetrics(): Registry {
  if (!processRegistry) {
    processRegistry = new Registry();
    collectDefaultMetrics({ register: processRegistry });
  }
  return processRegistry;
}

const SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];

export class Metrics {
  readonly #registry = new Registry();

  readonly #requests = new Histogram({
    name: 'codegen_worker_http_request_duration_seconds',
    help: 'Time from a request’s arrival to the end of its reply.',
    labelNames: ['method', 'route', 'status'],
    buckets: SECONDS,
    registers: [this.#registry],
  });

  readonly #tasks = new Counter({
    name: 'codegen_worker_tasks_ended_total',
    help: 'Tasks that have ended, by what ended them.',
    labelNames: ['tool', 'status', 'cause'],
    registers: [this.#registry],
  });

  readonly #taskSeconds = new Histogram({
    name: 'codegen_worker_task_duration_seconds',
    help: 'Time from a task’s start to its end.',
    labelNames: ['tool'],
    buckets: SECONDS,
    registers: [this.#registry],
  });

  readonly #waitSeconds = new Histogram({
    name: 'codegen_worker_task_wait_seconds',
    help: 'Time from a task’s acceptance to its start: its turn, and the start of its sandbox.',
    labelNames: ['tool'],
    buckets: SECONDS,
    registers: [this.#registry],
  });

  readonly #events = new Counter({
    name: 'codegen_worker_events_appended_total',
    help: 'Events stored in the journal.',
    registers: [this.#registry],
  });

  requestServed(request: { method: string; route: string; status: number; durationMs: number }): void {
    const { method, route, status, durationMs } = request;
    this.#requests.observe({ method, route, status }, durationMs / 1000);
  }

  taskEnded(task: {
    tool: string;
    status: string;
    cause: string;
    durationMs: number;
    queueMs: number | null;
  }): void {
    const { tool, status, cause, durationMs, queueMs } = task;
    if (queueMs !== null) this.#waitSeconds.observe({ tool }, queueMs / 1000);
    this.#tasks.inc({ tool, status, cause });
    this.#taskSeconds.observe({ tool }, durationMs / 1000);
  }

  eventsAppended(count: number): void {
    this.#events.inc(count);
  }

  /** A number that is read when somebody asks for it. */
  watch(name: GaugeName, read: () => number): void {
    new Gauge({
      name: `codegen_worker_${name}`,
      help: GAUGES[name],
      registers: [this.#registry],
      collect() {
        this.set(read());
      },
    });
  }

  /** Sessions by state, read when somebody asks. A state without sessions is 0 and not missing. */
  watchSessions(states: readonly string[], read: () => Readonly<Record<string, number>>): void {
    new Gauge({
      name: 'codegen_worker_sessions',
      help: 'Sessions by state.',
      labelNames: ['state'],
      registers: [this.#registry],
      collect() {
        const counts = read();
        for (const state of states) this.set({ state }, counts[state] ?? 0);
      },
    });
  }

  /** The level in force as 1, the others as 0; `none` when tasks are refused. */
  watchIsolation(levels: readonly string[], read: () => string | null): void {
    new Gauge({
      name: 'codegen_worker_isolation',
      help: 'Level of isolation in force: 1 for one level, or for none when tasks are refused.',
      labelNames: ['level'],
      registers: [this.#registry],
      collect() {
        const inForce = read() ?? 'none';
        for (const level of [...levels, 'none']) this.set({ level }, level === inForce ? 1 : 0);
      },
    });
  }

  readonly contentType = Registry.PROMETHEUS_CONTENT_TYPE;

  /** The text a scraper reads. */
  async render(): Promise<string> {
    const [ours, process] = await Promise.all([this.#registry.metrics(), processMetrics().metrics()]);
    return `${ours.trimEnd()}\n${process}`;
  }
}

const GAUGES = {
  tasks_queued: 'Tasks waiting in the lanes of all sessions.',
  tasks_running: 'Tasks that run at this moment.',
  disk_free_bytes: 'Free bytes on the fullest disk that the service writes to.',
  sockets: 'WebSocket and SSE readers connected.',
  downloads: 'Downloads of workspaces under way.',
  spare_sandboxes: 'Sandboxes that stand ready for new sessions.',
  stdin_waiting_bytes: 'Bytes of standard input that programs have not read yet.',
  idempotency_records: 'Idempotency-Keys kept, as of the last look.',
  idempotency_record_bytes: 'Bytes that they and their replies take, as of the last look.',
  kept_checkpoints: 'Checkpoints of sessions that are over, as of the last look.',
  kept_checkpoint_bytes: 'Bytes that their archives take, as of the last look.',
  sessions_detached: 'Sessions of the last run whose sandbox could not be attached yet.',
  sandbox_starts_waiting: 'Sandboxes that wait for their turn to start.',
} as const;

export type GaugeName = keyof typeof GAUGES;

// Everything there is, in the order in which it is built. Reading it top to bottom is the tour of the program.
import { DownloadSlots } from './checkpoints/download-slots.js';
import { CheckpointRepository } from './checkpoints/repository.js';
import { CheckpointRetention } from './checkpoints/retention.js';
import { checkpointRoutes } from './checkpoints/routes.js';
import { Checkpoints } from './checkpoints/service.js';
import { workspaceRoutes } from './checkpoints/workspace-routes.js';
import type { Config } from './config.js';
import { ShuttingDown } from './errors.js';
import { asyncapiRoutes } from './events/asyncapi-routes.js';
import { Journal } from './events/journal.js';
import { Reader } from './events/reader.js';
import { ReaderPlaces } from './events/reader-places.js';
import { eventRoutes } from './events/routes.js';
import { Trimmer } from './events/trim.js';
import { Foundations } from './foundations.js';
import { guardAccess } from './http/auth.js';
import { boundBodies } from './http/body-budget.js';
import { honourIdempotencyKeys } from './http/idempotency.js';
import { IdempotencyRecords } from './http/idempotency-records.js';
import { listen, listeningOn } from './http/listen.js';
import { describeApi } from './http/openapi.js';
import { boundReplies } from './http/reply-bounds.js';
import { buildServer, type Server } from './http/server.js';
import { countRequests, serviceRoutes } from './http/service-routes.js';
import { addSharedSchemas } from './http/shared-schemas.js';
import { StreamTokens } from './http/stream-tokens.js';
import { tokenRoutes } from './http/token-routes.js';
import { FreeSpace } from './observability/free-space.js';
import type { Logger } from './observability/logger.js';
import { Metrics } from './observability/metrics.js';
import { ISOLATION_LEVELS, type IsolationReport } from './sandbox/sandbox.js';
import { SessionRepository } from './sessions/repository.js';
import { Retention } from './sessions/retention.js';
import { sessionRoutes } from './sessions/routes.js';
import { SESSION_STATES } from './sessions/schema.js';
import { Sessions } from './sessions/service.js';
import { Sweeper } from './sessions/sweeper.js';
import { UsageTeller } from './sessions/usage.js';
import { storeProbe } from './store/probe.js';
import { Admission } from './tasks/admission.js';
import { Places } from './tasks/places.js';
import { TaskRepository } from './tasks/repository.js';
import { taskRoutes } from './tasks/routes.js';
import { Tasks } from './tasks/service.js';
import { StdinRoom } from './tasks/stdin.js';
import { submissionSchemas, ToolDescription, toolRegistry } from './tools/registry.js';
import { toolRoutes } from './tools/routes.js';

export interface AppOptions {
  readonly log: Logger;
  /** Every JSON reply is checked against its schema: for tests. */
  readonly checkReplies?: boolean;
  /** Which may have been started; `close` of the app closes them. */
  readonly foundations?: Foundations;
}

export interface App {
  readonly server: Server;
  /** Opens the store, finds the isolation level, brings the last run’s sessions and tasks back. */
  start(): Promise<void>;
  /** Answers the address once requests are taken. */
  listen(): Promise<string>;
  /** Stops intake, lets tasks finish for the grace time, ends sockets and sandboxes, closes the store. A start that is
   *  under way is left after its present step and rejects. */
  close(): Promise<void>;
  /** Tasks that still run get no more of the grace time. */
  hurry(): void;
  /** What sandboxes rest on; known once it has started. */
  isolation(): IsolationReport;
}

/** Builds everything and opens nothing: the API can be described without a store or a sandbox. */
export async function buildApp(
  config: Config,
  { log, checkReplies = false, foundations = new Foundations(config, log) }: AppOptions,
): Promise<App> {
  const metrics = new Metrics();
  const { store, driver } = foundations;
  const probe = storeProbe(store);
  const journal = new Journal({
    store,
    log,
    onStored: ({ session, count, sessionBytes }) => {
      metrics.eventsAppended(count);
      sessions.live(session.id)?.keeps(sessionBytes);
    },
  });
  const reader = new Reader({ store, journal });
  const readerPlaces = new ReaderPlaces(config.MAX_SOCKETS);
  const downloads = new DownloadSlots(config.MAX_DOWNLOADS);
  const places = new Places({ total: config.MAX_RUNNING_TASKS, perTenant: config.MAX_TENANT_RUNNING_TASKS });
  const admission = new Admission(config, places);
  const stdinRoom = new StdinRoom(config.MAX_STDIN_WAITING_BYTES);
  const tools = toolRegistry();
  const submission = submissionSchemas(tools);

  const sessionRepository = new SessionRepository(store);
  const sessions: Sessions = new Sessions({
    repository: sessionRepository,
    journal,
    driver,
    config,
    log,
    requireRoom: () => {
      retention.requireRoom();
      freeSpace.require();
    },
    places,
    endTasks: (live) => tasks.endAllOf(live),
    resumeTasks: (live) => tasks.recovery.recover(live.row.id),
    discardTasks: (sessionRowId) => tasks.recovery.discard(sessionRowId),
    takeCheckpoint: (live, name) => checkpoints.takeAtEnd(live, name),
    fillWorkspace: (principal, checkpointId, sandbox) =>
      checkpoints.restoreInto(principal, checkpointId, sandbox),
  });
  const tasks: Tasks = new Tasks({
    repository: new TaskRepository(store),
    sessions,
    journal,
    tools,
    driver,
    config,
    log,
    requireRoom: () => retention.requireRoom(),
    requireDisk: () => freeSpace.require(),
    requireReplyRoom: (bytes) => replies.requireRoom(bytes),
    admission,
    stdinRoom,
    onEnded: (task) => metrics.taskEnded(task),
  });
  const checkpointRepository = new CheckpointRepository(store);
  const checkpoints: Checkpoints = new Checkpoints({
    repository: checkpointRepository,
    journal,
    directory: config.CHECKPOINT_DIR,
    kept: config.CHECKPOINTS_KEPT,
    requireDisk: () => freeSpace.require(),
    log,
    sessions,
  });
  const checkpointRetention = new CheckpointRetention({
    repository: checkpointRepository,
    remove: (id) => checkpoints.removeById(id),
    limits: {
      unusedMs: config.CHECKPOINT_RETENTION_SECONDS * 1000,
      bytes: config.CHECKPOINT_RETENTION_BYTES,
    },
    log,
  });
  const freeSpace = new FreeSpace({
    directories: [config.DATA_DIR, config.CHECKPOINT_DIR],
    floorBytes: config.MIN_FREE_DISK_MB * 1024 * 1024,
    unwrittenBytes: () => driver.unwrittenBytes(),
    log,
    whileLow: (error) => tasks.endWriters(error),
  });
  const sweeper = new Sweeper({
    sessions,
    journal,
    log,
  });
  const retention = new Retention({
    repository: sessionRepository,
    trimmer: new Trimmer(store),
    storeSize: () => store.size(),
    limits: {
      endedMs: config.RETENTION_SECONDS * 1000,
      eventMs: config.EVENT_RETENTION_SECONDS * 1000,
      sessionBytes: config.SESSION_RETENTION_BYTES,
      storeBytes: config.STORE_RETENTION_BYTES,
    },
    log,
    cutReplies: () => idempotency.cut(),
    removeCheckpoints: (...about) => checkpointRetention.round(...about),
    onTrimmed: (id, bytes) => sessions.live(id)?.keeps(bytes),
  });
  const usage = new UsageTeller({ sessions: () => sessions.allLive, journal, log });
  const idempotency = new IdempotencyRecords({
    store,
    log,
    maxBytes: config.STORE_RETENTION_BYTES / 4,
  });

  const server: Server = buildServer({
    jsonBodyBytes: config.JSON_BODY_BYTES,
    maxConnections: config.MAX_CONNECTIONS,
    log,
    checkReplies,
  });
  foundations.ownAddresses = () => listeningOn(server);
  let starting: Promise<void> | undefined;
  let closing: Promise<void> | undefined;
  let endings: Promise<void> | undefined;
  const hurry = new AbortController();
  const tokens = new StreamTokens();
  guardAccess(server, {
    tokens,
    docsNeedKey: config.DOCS_ACCESS === 'key',
    apiKeys: config.API_KEYS,
    allowedHosts: config.ALLOWED_HOSTS,
    allowedOrigins: config.ALLOWED_ORIGINS,
  });
  countRequests(server, metrics);
  boundBodies(server, config.MAX_BODY_BYTES_IN_FLIGHT);
  honourIdempotencyKeys(server, idempotency);
  const replies = boundReplies(server, {
    stalledMs: config.STALLED_REPLY_SECONDS * 1000,
    unreadBytes: config.MAX_UNREAD_REPLY_BYTES,
  });
  addSharedSchemas(server);
  for (const schema of [ToolDescription, ...submission.all]) server.addSchema(schema);
  describeApi(server);
  await server.register(serviceRoutes, {
    metrics,
    health: {
      isClosing: () => closing !== undefined,
      probeStore: async () => {
        retention.requireRoom();
        freeSpace.require();
        await probe();
      },
      isolation: () => driver.isolation,
    },
    isolation: () => driver.isolation,
  });
  const prefix = '/v1';
  await server.register(sessionRoutes, {
    prefix,
    sessions,
    capacity: ({ tenant }) => ({
      ...sessions.slots(),
      queuedTasks: admission.waiting(),
      runningTasks: sessions.runningTasks,
      ...admission.queues(tenant),
    }),
  });
  await server.register(tokenRoutes, {
    prefix,
    tokens,
    findSession: (principal, sessionId) => sessions.locate(principal, sessionId),
  });
  await server.register(taskRoutes, { prefix, tasks, sessions, tools, submission: submission.union });
  await server.register(toolRoutes, { prefix, tools });
  await server.register(checkpointRoutes, { prefix, checkpoints, sessions });
  await server.register(workspaceRoutes, { prefix, sessions, downloads });
  await server.register(asyncapiRoutes);
  await server.register(eventRoutes, {
    prefix,
    reader,
    places: readerPlaces,
    findSession: (principal, sessionId) => sessions.locate(principal, sessionId),
    findTask: async (principal, taskId) => {
      const { row, sessionId } = await tasks.find(principal, taskId);
      return { session: { id: row.session, sessionId }, taskId: row.task_id };
    },
    cancelTask: (principal, taskId, reason) => tasks.cancel(principal, taskId, reason),
    writeStdin: (principal, taskId, write) => tasks.writeStdin(principal, taskId, write),
  });
  metrics.watch('tasks_queued', () => admission.waiting());
  metrics.watch('tasks_running', () => sessions.runningTasks);
  metrics.watch('disk_free_bytes', () => freeSpace.freeBytes);
  metrics.watch('sockets', () => readerPlaces.taken);
  metrics.watch('downloads', () => downloads.taken);
  metrics.watch('spare_sandboxes', () => driver.spareCount);
  metrics.watch('stdin_waiting_bytes', () => stdinRoom.waitingBytes);
  metrics.watch('idempotency_records', () => idempotency.size.count);
  metrics.watch('idempotency_record_bytes', () => idempotency.size.bytes);
  metrics.watch('kept_checkpoints', () => checkpointRetention.size.count);
  metrics.watch('kept_checkpoint_bytes', () => checkpointRetention.size.bytes);
  metrics.watch('sessions_detached', () => sessions.detached);
  metrics.watch('sandbox_starts_waiting', () => driver.startsWaiting);
  metrics.watchIsolation(ISOLATION_LEVELS, () => driver.isolation.level);
  metrics.watchSessions(SESSION_STATES, () => sessions.countByState());

  async function start(): Promise<void> {
    const steps = [
      () => foundations.start(),
      () => idempotency.start(),
      () => checkpoints.start(),
      () => freeSpace.start(),
      () => sessions.recover(),
      () => tasks.recovery.recover(),
      () => sessions.endLost(),
      // Not waited for: checkpoints of ends may take minutes, and the service answers meanwhile.
      () => {
        endings = sessions.finishEnds();
      },
      () => driver.keepSpares(),
      () => sweeper.start(),
      () => usage.start(),
      () => retention.start(),
    ];
    for (const step of steps) {
      if (closing) throw new ShuttingDown();
      await step();
    }
  }

  async function close(): Promise<void> {
    const attached = sessions.stopIntake();
    checkpoints.close();
    await starting?.catch(() => {});
    await attached;
    await endings;
    await tasks.drain(config.SHUTDOWN_GRACE_SECONDS * 1000, hurry.signal);
    await server.close();
    await sweeper.close();
    await usage.close();
    await retention.close();
    await freeSpace.close();
    idempotency.close();
    await foundations.close();
  }

  return {
    server,
    start: () => {
      starting ??= start();
      return starting;
    },
    listen: () => listen(server, { host: config.HOST, port: config.PORT }),
    close: () => {
      closing ??= close();
      return closing;
    },
    hurry: () => hurry.abort(),
    isolation: () => driver.isolation,
  };
}

// The routes of events on a real port, with a real store and journal; sessions and tasks are rows that tests add.
import type { AddressInfo } from 'node:net';
import type { Test } from 'tap';
import { SessionNotFound, TaskNotFound } from '../../src/errors.js';
import { ReaderPlaces } from '../../src/events/reader-places.js';
import { type EventRoutesOptions, eventRoutes } from '../../src/events/routes.js';
import { guardAccess } from '../../src/http/auth.js';
import { Problem } from '../../src/http/problem-schema.js';
import { buildServer } from '../../src/http/server.js';
import { SessionState } from '../../src/sessions/schema.js';
import { Ending, TaskStatus, Usage } from '../../src/tasks/schema.js';
import { openJournal, silent } from './store.js';

export async function startEventService(t: Test, overrides: Partial<EventRoutesOptions> = {}) {
  const { store, journal, reader } = await openJournal(t);
  const app = buildServer({ jsonBodyBytes: 1024, log: silent, checkReplies: true });
  guardAccess(app, { apiKeys: [], allowedHosts: [], allowedOrigins: [] });
  for (const schema of [Problem, SessionState, Ending, TaskStatus, Usage]) app.addSchema(schema);
  const stdin: string[] = [];
  const cancelled: string[] = [];
  await app.register(eventRoutes, {
    prefix: '/v1',
    reader,
    places: new ReaderPlaces(100),
    async findSession({ tenant }, sessionId) {
      const row = await store.query
        .selectFrom('sessions')
        .select(['id', 'session_id as sessionId'])
        .where('tenant', '=', tenant)
        .where('session_id', '=', sessionId)
        .executeTakeFirst();
      if (!row) throw new SessionNotFound(sessionId);
      return row;
    },
    async findTask({ tenant }, taskId) {
      const row = await store.query
        .selectFrom('tasks')
        .innerJoin('sessions', 'sessions.id', 'tasks.session')
        .select(['sessions.id', 'sessions.session_id as sessionId'])
        .where('tasks.tenant', '=', tenant)
        .where('tasks.task_id', '=', taskId)
        .executeTakeFirst();
      if (!row) throw new TaskNotFound(taskId);
      return { taskId, session: row };
    },
    async cancelTask(_principal, taskId, reason) {
      cancelled.push(`${taskId} ${reason}`);
    },
    async writeStdin(_principal, taskId, { bytes, close }) {
      stdin.push(`${taskId} ${Buffer.from(bytes).toString()}${close ? ' closed' : ''}`);
    },
    ...overrides,
  } satisfies EventRoutesOptions & { prefix: string });
  await app.listen({ port: 0, host: '127.0.0.1' });
  t.teardown(() => app.close());
  const { port } = app.server.address() as AddressInfo;
  return {
    app,
    store,
    journal,
    reader,
    stdin,
    cancelled,
    http: `http://127.0.0.1:${port}`,
    ws: `ws://127.0.0.1:${port}`,
  };
}

export type EventService = Awaited<ReturnType<typeof startEventService>>;

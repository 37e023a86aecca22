// How sessions are reached.
import { Type } from '@sinclair/typebox';
import { listQuery, listReply, listRequest, toPage } from '../http/paging.js';
import type { Refetch } from '../http/partial-reply.js';
import { errorResponses } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';
import type { Principal } from '../lib/principal.js';
import { closed, ref } from '../lib/typebox.js';
import { Capacity, CreateSession, PatchSession, SESSION_STATES, Session, SessionId } from './schema.js';
import type { Sessions } from './service.js';

const params = closed({ sessionId: SessionId });
const tags = ['Sessions'];
const SessionPage = listReply(Session, 'SessionPage');

export interface SessionRoutesOptions {
  readonly sessions: Sessions;
  readonly capacity: (principal: Principal) => Capacity;
}

export async function sessionRoutes(
  app: Server,
  { sessions, capacity }: SessionRoutesOptions,
): Promise<void> {
  app.addSchema(SessionPage);
  const refetch: Refetch = ({ principal }, { sessionId }) => sessions.get(principal, String(sessionId));

  app.post(
    '/sessions',
    {
      config: { refetch },
      schema: {
        operationId: 'createSession',
        tags,
        summary: 'Create a session',
        description: 'Makes a workspace of its own. The sandbox is there, or starts with the first task.',
        body: ref(CreateSession),
        response: {
          201: ref(Session, { description: 'The session is ready.' }),
          ...errorResponses(
            'SESSION_ID_CONFLICT',
            'CHECKPOINT_NOT_FOUND',
            'CAPACITY_EXCEEDED',
            'OUT_OF_DISK',
          ),
        },
      },
    },
    async (request, reply) => {
      const session = await sessions.create(request.principal, request.body);
      return reply.code(201).header('location', `/v1/sessions/${session.sessionId}`).send(session);
    },
  );

  app.get(
    '/sessions',
    {
      schema: {
        operationId: 'listSessions',
        tags,
        summary: 'List sessions',
        description: 'Newest first. Terminated sessions stay in the list for the retention time.',
        querystring: listQuery({ state: SESSION_STATES }),
        response: { 200: ref(SessionPage), ...errorResponses() },
      },
    },
    async (request) => {
      const { principal } = request;
      const { values, ...page } = listRequest(request.query);
      return toPage(await sessions.list({ tenant: principal.tenant, state: values.state, ...page }));
    },
  );

  app.get(
    '/sessions/:sessionId',
    {
      schema: {
        operationId: 'getSession',
        tags,
        summary: 'Get a session',
        description: 'Reading moves no timer.',
        params,
        response: { 200: ref(Session), ...errorResponses('SESSION_NOT_FOUND') },
      },
    },
    (request) => sessions.get(request.principal, request.params.sessionId),
  );

  app.patch(
    '/sessions/:sessionId',
    {
      config: { refetch },
      schema: {
        operationId: 'patchSession',
        tags,
        summary: 'Change a session',
        description: 'A JSON merge patch of labels, clocks and network.',
        params,
        body: ref(PatchSession),
        response: {
          200: ref(Session),
          ...errorResponses('SESSION_NOT_FOUND', 'SESSION_ENDED', 'SESSION_DETACHED'),
        },
      },
    },
    (request) => sessions.patch(request.principal, request.params.sessionId, request.body),
  );

  app.delete(
    '/sessions/:sessionId',
    {
      config: { refetch },
      schema: {
        operationId: 'deleteSession',
        tags,
        summary: 'End a session',
        description:
          'Ends its tasks as `sessionEnded`, kills what runs, removes the workspace, and answers the final record when all of it is gone. A second delete answers the same record. The first one decides about a checkpoint: a delete that asks for one is a 409 `SESSION_ENDED` when the session ends, or has ended, without it. When processes are not gone after 5 s it is a 503 `KILL_PENDING`, and the end goes on.',
        params,
        querystring: closed({
          force: Type.Optional(
            Type.Boolean({ default: false, description: 'Also with queued or running tasks.' }),
          ),
          checkpoint: Type.Optional(
            Type.Boolean({ default: false, description: 'Take a checkpoint first; its id is in the reply.' }),
          ),
        }),
        response: {
          200: ref(Session, { description: 'The session is over.' }),
          ...errorResponses(
            'SESSION_NOT_FOUND',
            'SESSION_BUSY',
            'SESSION_ENDED',
            'SESSION_DETACHED',
            'KILL_PENDING',
          ),
        },
      },
    },
    (request) => {
      const { force = false, checkpoint = false } = request.query;
      return sessions.delete(request.principal, request.params.sessionId, { force, checkpoint });
    },
  );

  app.get(
    '/capacity',
    {
      schema: {
        operationId: 'getCapacity',
        tags,
        summary: 'How full the service is',
        description: 'Slots of the whole service; its queues, and those of your tenant.',
        response: { 200: ref(Capacity), ...errorResponses() },
      },
    },
    async (request) => capacity(request.principal),
  );
}

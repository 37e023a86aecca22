// How checkpoints are reached.
import { Type } from '@sinclair/typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { listQuery, listReply, listRequest, toPage } from '../http/paging.js';
import { errorResponses } from '../http/problem-schema.js';
import { byteRange } from '../http/range.js';
import type { Server } from '../http/server.js';
import { closed, ref } from '../lib/typebox.js';
import { Session, SessionId } from '../sessions/schema.js';
import type { Sessions } from '../sessions/service.js';
import { Checkpoint, CheckpointId, CreateCheckpoint, RestoreCheckpoint } from './schema.js';
import type { Checkpoints } from './service.js';

const tags = ['Checkpoints'];
const CheckpointPage = listReply(Checkpoint, 'CheckpointPage');
const sessionParams = closed({ sessionId: SessionId });
const params = closed({ checkpointId: CheckpointId });
/** Of the settings' defaults. */
const HOW_LONG =
  'Of a session that is over each is kept until 30 days have passed since the session ended, or since it was last restored or downloaded, unless the operator says otherwise.';
const archiveBytes = { 'application/gzip': { schema: { type: 'string', format: 'binary' } } };

export async function checkpointRoutes(
  app: Server,
  { checkpoints, sessions }: { checkpoints: Checkpoints; sessions: Pick<Sessions, 'get'> },
): Promise<void> {
  app.addSchema(CheckpointPage);

  app.post(
    '/sessions/:sessionId/checkpoints',
    {
      config: {
        refetch: ({ principal }, { checkpointId }) => checkpoints.get(principal, String(checkpointId)),
      },
      schema: {
        operationId: 'createCheckpoint',
        tags,
        summary: 'Take a checkpoint',
        description:
          'Freezes what runs, copies the whole workspace, and lets it go on. Tasks sent meanwhile wait. The checkpoint is on disk, or there is none.',
        params: sessionParams,
        body: ref(CreateCheckpoint),
        response: {
          201: ref(Checkpoint, { description: 'It is whole and on disk.' }),
          ...errorResponses(
            'SESSION_NOT_FOUND',
            'SESSION_ENDED',
            'SESSION_DETACHED',
            'PAYLOAD_TOO_LARGE',
            'OUT_OF_DISK',
          ),
        },
      },
    },
    async (request, reply) => {
      const { principal, params, body } = request;
      const checkpoint = await checkpoints.create(principal, params.sessionId, body);
      return reply
        .code(201)
        .header('location', `/v1/checkpoints/${checkpoint.checkpointId}`)
        .send(checkpoint);
    },
  );

  app.get(
    '/sessions/:sessionId/checkpoints',
    {
      schema: {
        operationId: 'listCheckpoints',
        tags,
        summary: 'List a session’s checkpoints',
        description: `Newest first. They stay when the session ends, also after its record is gone. ${HOW_LONG}`,
        params: sessionParams,
        querystring: listQuery({}, { hasLabels: false }),
        response: { 200: ref(CheckpointPage), ...errorResponses('SESSION_NOT_FOUND') },
      },
    },
    async (request) => {
      const { limit, before, createdAfter } = listRequest(request.query);
      const { tenant } = request.principal;
      const { sessionId } = request.params;
      return toPage(await checkpoints.listOf(sessionId, { tenant, limit, before, createdAfter }));
    },
  );

  app.get(
    '/checkpoints',
    {
      schema: {
        operationId: 'listAllCheckpoints',
        tags,
        summary: 'List checkpoints',
        description: `Of all sessions, also of those whose record is gone; newest first. ${HOW_LONG}`,
        querystring: listQuery({}, { hasLabels: false, more: { sessionId: Type.Optional(SessionId) } }),
        response: { 200: ref(CheckpointPage), ...errorResponses('VALIDATION_FAILED') },
      },
    },
    async (request) => {
      const { limit, before, createdAfter, values } = listRequest(request.query);
      const { tenant } = request.principal;
      const sessionId = values.sessionId?.[0];
      return toPage(await checkpoints.list({ tenant, sessionId, limit, before, createdAfter }));
    },
  );

  app.get(
    '/checkpoints/:checkpointId',
    {
      schema: {
        operationId: 'getCheckpoint',
        tags,
        summary: 'Get a checkpoint',
        description: 'Its record; the files are under `/archive`.',
        params,
        response: { 200: ref(Checkpoint), ...errorResponses('CHECKPOINT_NOT_FOUND') },
      },
    },
    (request) => checkpoints.get(request.principal, request.params.checkpointId),
  );

  app.delete(
    '/checkpoints/:checkpointId',
    {
      schema: {
        operationId: 'deleteCheckpoint',
        tags,
        summary: 'Delete a checkpoint',
        description: 'Removes record and archive. Sessions started from it stay.',
        params,
        response: {
          204: { description: 'It is gone.', type: 'null' },
          ...errorResponses('CHECKPOINT_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      await checkpoints.remove(request.principal, request.params.checkpointId);
      return reply.code(204).send();
    },
  );

  app.get(
    '/checkpoints/:checkpointId/archive',
    {
      // It would read the whole archive to send none of it.
      exposeHeadRoute: false,
      schema: {
        operationId: 'getCheckpointArchive',
        tags,
        summary: 'Download a checkpoint',
        description:
          'A plain `.tar.gz`. Ranges are supported; `ETag` and `Repr-Digest` are the sha256 of the whole. What tar cannot say (bytes in names that are no UTF-8, mode 0000) is exact in a pax comment of the entry.',
        params,
        response: {
          200: { description: 'All of it.', content: archiveBytes },
          206: { description: 'The range.', content: archiveBytes },
          ...errorResponses('CHECKPOINT_NOT_FOUND', 'RANGE_NOT_SATISFIABLE'),
        },
      },
    },
    (request, reply) => sendArchive(checkpoints, request.params.checkpointId, request, reply),
  );

  app.post(
    '/checkpoints/:checkpointId/restore',
    {
      config: { refetch: ({ principal }, { sessionId }) => sessions.get(principal, String(sessionId)) },
      schema: {
        operationId: 'restoreCheckpoint',
        tags,
        summary: 'Restore a checkpoint',
        description:
          'Starts a new session with the workspace of the checkpoint. A restore that fails leaves nothing.',
        params,
        body: ref(RestoreCheckpoint),
        response: {
          201: ref(Session, { description: 'The session is ready.' }),
          ...errorResponses(
            'CHECKPOINT_NOT_FOUND',
            'SESSION_ID_CONFLICT',
            'CAPACITY_EXCEEDED',
            'OUT_OF_DISK',
          ),
        },
      },
    },
    async (request, reply) => {
      const { principal, params, body } = request;
      const session = await checkpoints.restore(principal, params.checkpointId, body);
      return reply.code(201).header('location', `/v1/sessions/${session.sessionId}`).send(session);
    },
  );
}

async function sendArchive(
  checkpoints: Checkpoints,
  checkpointId: string,
  request: FastifyRequest,
  reply: FastifyReply,
) {
  const { checkpoint, file } = await checkpoints.openArchive(request.principal, checkpointId);
  try {
    const etag = `"${checkpoint.sha256}"`;
    const ifRange = request.headers['if-range'];
    const header = ifRange === undefined || ifRange === etag ? request.headers.range : undefined;
    const { start, end } = byteRange(header, checkpoint.sizeBytes, reply);
    reply
      .type('application/gzip')
      .header('etag', etag)
      .header('repr-digest', `sha-256=:${Buffer.from(checkpoint.sha256, 'hex').toString('base64')}:`)
      .header('content-disposition', `attachment; filename="${checkpointId}.tar.gz"`);
    // Closes the file when it has been sent, or when the client has gone.
    return reply.send(file.createReadStream({ start, end: end - 1 }));
  } catch (error) {
    await file.close();
    throw error;
  }
}

// How tasks are reached.
import { type TSchema, Type } from '@sinclair/typebox';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { UnknownTool, ValidationFailed } from '../errors.js';
import { clientGone } from '../http/client-gone.js';
import { listQuery, listReply, listRequest, toPage } from '../http/paging.js';
import { errorResponses } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';
import { closed, ref } from '../lib/typebox.js';
import { SessionId } from '../sessions/schema.js';
import type { Sessions } from '../sessions/service.js';
import type { ToolRegistry } from '../tools/registry.js';
import { CancelResult, CancelTask, TASK_STATUSES, Task, TaskId, type TaskSubmission } from './schema.js';
import type { Tasks } from './service.js';
import { streamRoutes } from './stream-routes.js';

const tags = ['Tasks'];
const TaskPage = listReply(Task, 'TaskPage');
const taskParams = closed({ taskId: TaskId });
const sessionParams = closed({ sessionId: SessionId });
const wait = Type.Optional(
  Type.Number({ minimum: 0, maximum: 60, default: 0, description: 'Wait this many seconds for the end.' }),
);

export interface TaskRoutesOptions {
  readonly tasks: Tasks;
  readonly sessions: Sessions;
  readonly tools: ToolRegistry;
  /** Body of a submission: a union over the tools. */
  readonly submission: TSchema;
}

export async function taskRoutes(
  app: Server,
  { tasks, sessions, tools, submission }: TaskRoutesOptions,
): Promise<void> {
  app.addSchema(TaskPage);

  app.post(
    '/sessions/:sessionId/tasks',
    {
      config: { idempotency: 'task' },
      // Before the union of all tools is looked at, whose errors would name none of them.
      preValidation: (request, _reply, done) => {
        requireKnownTool(request.body, tools);
        done();
      },
      schema: {
        operationId: 'submitTask',
        tags,
        summary: 'Submit a task',
        description:
          'Accepted tasks run in order, as many at once as the session’s `concurrency`, in places that the sessions of the service share in turns. When a queue is full the refusal’s `Retry-After` is computed from how fast it moves (1 to 60 s). A client that goes away changes nothing.',
        params: sessionParams,
        querystring: closed({ wait }),
        body: ref(submission),
        response: {
          200: ref(Task, { description: 'It ended within `wait`.' }),
          202: ref(Task, { description: 'It is stored and will end exactly once.' }),
          ...errorResponses(
            'UNKNOWN_TOOL',
            'SESSION_NOT_FOUND',
            'SESSION_ENDED',
            'SESSION_DETACHED',
            'TASK_ID_CONFLICT',
            'TOO_MANY_TASKS',
            'CAPACITY_EXCEEDED',
            'ISOLATION_UNAVAILABLE',
            'OUT_OF_DISK',
          ),
        },
      },
    },
    async (request, reply) => {
      const { principal, idempotency } = request;
      const accepted = idempotency?.repeatedTaskId
        ? await tasks.get(principal, idempotency.repeatedTaskId)
        : await tasks.submit(
            principal,
            request.params.sessionId,
            request.body as TaskSubmission,
            (taskId) => idempotency?.statements(taskId) ?? [],
          );
      return sendWaiting(request, reply, accepted, request.query.wait ?? 0);
    },
  );

  /** The task as it is, or as soon as it has ended. */
  async function sendWaiting(request: FastifyRequest, reply: FastifyReply, task: Task, waitSeconds: number) {
    const shown =
      task.endedAt === null && waitSeconds > 0
        ? await tasks.wait(request.principal, task.taskId, waitSeconds * 1000, clientGone(reply))
        : task;
    return reply
      .code(shown.endedAt === null ? 202 : 200)
      .header('location', `/v1/tasks/${shown.taskId}`)
      .send(shown);
  }

  app.get(
    '/sessions/:sessionId/tasks',
    {
      schema: {
        operationId: 'listTasks',
        tags,
        summary: 'List a session’s tasks',
        description: 'Newest first, without outputs: read a task for those.',
        params: sessionParams,
        querystring: listQuery({ status: TASK_STATUSES, tool: [...tools.keys()] }),
        response: { 200: ref(TaskPage), ...errorResponses('SESSION_NOT_FOUND', 'CAPACITY_EXCEEDED') },
      },
    },
    async (request) => {
      const session = await sessions.find(request.principal, request.params.sessionId);
      const { values, ...page } = listRequest(request.query);
      const filter = { session: session.id, status: values.status, tool: values.tool, ...page };
      return toPage(await tasks.list(filter, session.session_id));
    },
  );

  app.get(
    '/tasks/:taskId',
    {
      schema: {
        operationId: 'getTask',
        tags,
        summary: 'Get a task',
        description:
          'With `wait`: as soon as it has ended, or as it is after that time. A large task is a 503 while too many replies wait for clients that do not read them.',
        params: taskParams,
        querystring: closed({ wait }),
        response: { 200: ref(Task), ...errorResponses('TASK_NOT_FOUND', 'CAPACITY_EXCEEDED') },
      },
    },
    (request, reply) =>
      tasks.read(
        request.principal,
        request.params.taskId,
        (request.query.wait ?? 0) * 1000,
        clientGone(reply),
      ),
  );

  app.post(
    '/tasks/:taskId/cancel',
    {
      config: {
        refetch: async ({ principal, params }) => ({
          task: await tasks.get(principal, (params as { taskId: string }).taskId),
        }),
      },
      schema: {
        operationId: 'cancelTask',
        tags,
        summary: 'Cancel a task',
        description:
          'Answers when its processes are gone. A task that had ended already stays as it is: `cancelled` is false.',
        params: taskParams,
        body: ref(CancelTask),
        response: { 200: ref(CancelResult), ...errorResponses('TASK_NOT_FOUND', 'KILL_PENDING') },
      },
    },
    (request) => tasks.cancel(request.principal, request.params.taskId, request.body.reason),
  );

  await app.register(streamRoutes, { tasks });
}

function requireKnownTool(body: unknown, tools: ToolRegistry): void {
  const tool = (body as { tool?: unknown } | undefined)?.tool;
  const known = [...tools.keys()];
  if (typeof tool !== 'string') {
    throw new ValidationFailed([
      { where: '/body/tool', given: tool, rule: `must be one of: ${known.join(', ')}` },
    ]);
  }
  if (!tools.has(tool)) throw new UnknownTool(tool, known);
}

// The bytes of a task: into its standard input, and out of its stdout and stderr.
import { Readable } from 'node:stream';
import { Type } from '@sinclair/typebox';
import { OutputStream } from '../events/schema.js';
import { errorResponses } from '../http/problem-schema.js';
import { byteRange, wantedRange } from '../http/range.js';
import { acceptBytes, type Server } from '../http/server.js';
import { closed, ref } from '../lib/typebox.js';
import { TaskId } from './schema.js';
import type { Tasks } from './service.js';

const tags = ['Tasks'];
const BYTES = { type: 'string', format: 'binary' };

export async function streamRoutes(app: Server, { tasks }: { tasks: Tasks }): Promise<void> {
  acceptBytes(app);

  app.post(
    '/tasks/:taskId/stdin',
    {
      schema: {
        operationId: 'writeTaskStdin',
        tags,
        summary: 'Write to a task’s standard input',
        description:
          'Raw bytes for a running task that was submitted with `stdinOpen`. Answers when the program has read all that came before and these bytes are in its pipe. 1 MiB may wait for a program, or one larger piece alone; more is a 429 `STDIN_FULL`.',
        params: closed({ taskId: TaskId }),
        querystring: closed({
          close: Type.Optional(
            Type.Boolean({ default: false, description: 'Close standard input after these bytes.' }),
          ),
        }),
        body: { content: { 'application/octet-stream': { schema: BYTES } } },
        response: {
          204: Type.Null({ description: 'Handed over.' }),
          ...errorResponses(
            'TASK_NOT_FOUND',
            'TASK_NOT_RUNNING',
            'STDIN_CLOSED',
            'STDIN_FULL',
            'PAYLOAD_TOO_LARGE',
          ),
        },
      },
    },
    async (request, reply) => {
      const bytes = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const { principal, params, query } = request;
      await tasks.writeStdin(principal, params.taskId, { bytes, close: query.close ?? false });
      return reply.code(204).send(null);
    },
  );

  app.get(
    '/tasks/:taskId/output/:stream',
    {
      // It would read all bytes to send none.
      exposeHeadRoute: false,
      schema: {
        operationId: 'getTaskOutput',
        tags,
        summary: 'Read a task’s output',
        description:
          'The exact bytes of stdout or stderr, as far as they are stored. Ranges are supported. Bytes that retention has removed are a 410, which says from where on there are some.',
        params: closed({ taskId: TaskId, stream: ref(OutputStream) }),
        response: {
          200: {
            description: 'All bytes.',
            content: { 'application/octet-stream': { schema: BYTES } },
          },
          206: {
            description: 'The range.',
            content: { 'application/octet-stream': { schema: BYTES } },
          },
          ...errorResponses('TASK_NOT_FOUND', 'OUTPUT_REMOVED', 'RANGE_NOT_SATISFIABLE'),
        },
      },
    },
    async (request, reply) => {
      const { row } = await tasks.find(request.principal, request.params.taskId);
      const stream = request.params.stream;
      const output = tasks.output(row, stream);
      const size = await output.size();
      await output.requireFrom(wantedRange(request.headers.range, size).start);
      const { start, end } = byteRange(request.headers.range, size, reply);
      reply.header('content-type', 'application/octet-stream');
      return reply.send(Readable.from(output.read(start, end), { objectMode: false }));
    },
  );
}

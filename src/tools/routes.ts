// What tools there are, with the JSON Schemas of what they take and give.
import { Type } from '@sinclair/typebox';
import { ToolNotFound } from '../errors.js';
import { errorResponses } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';
import { closed, ref } from '../lib/typebox.js';
import { ToolDescription, type ToolRegistry } from './registry.js';
import type { Tool } from './tool.js';

const ToolList = closed({ items: Type.Array(ref(ToolDescription)) }, { $id: 'ToolList' });

/** A schema as it stands alone: TypeBox’s `$id` is a name inside our documents only. */
function standalone({ $id: _, ...schema }: Record<string, unknown>): Record<string, unknown> {
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', ...JSON.parse(JSON.stringify(schema)) };
}

const describe = ({ name, description, arguments: taken, outputs }: Tool) => ({
  name,
  description,
  arguments: standalone(taken),
  outputs: standalone(outputs),
});

export async function toolRoutes(app: Server, { tools }: { tools: ToolRegistry }): Promise<void> {
  app.addSchema(ToolList);

  app.get(
    '/tools',
    {
      schema: {
        operationId: 'listTools',
        tags: ['Tools'],
        summary: 'List the tools',
        description: 'Every tool a task can name, with JSON Schemas.',
        response: { 200: ref(ToolList), ...errorResponses() },
      },
    },
    async () => ({ items: [...tools.values()].map(describe) }),
  );

  app.get(
    '/tools/:tool',
    {
      schema: {
        operationId: 'getTool',
        tags: ['Tools'],
        summary: 'Get a tool',
        description: 'One tool, with JSON Schemas.',
        params: closed({ tool: Type.String({ examples: ['run.python'] }) }),
        response: { 200: ref(ToolDescription), ...errorResponses('TOOL_NOT_FOUND') },
      },
    },
    async (request) => {
      const tool = tools.get(request.params.tool);
      if (!tool) throw new ToolNotFound(request.params.tool, [...tools.keys()]);
      return describe(tool);
    },
  );
}

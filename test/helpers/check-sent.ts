// Whether what the service sends satisfies the schemas it publishes. The clients of the tests ask here about every event and
// every task they are sent, whatever they test, so that no suite has to think of it.
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import { asyncapiDocument } from '../../src/events/asyncapi.js';
import { Problem } from '../../src/http/problem-schema.js';
import { toolRegistry } from '../../src/tools/registry.js';

type Members = Record<string, unknown>;

const tools = toolRegistry();
let loaded:
  | { message(type: string): ValidateFunction | undefined; outputs(tool: string): ValidateFunction }
  | undefined;

/** Compiled when first asked for: many suites talk to no service. */
function load() {
  const document = asyncapiDocument({ problem: Problem }) as {
    components: { schemas: Record<string, { properties?: { type?: { const?: string } } }> };
  };
  const ajv = new Ajv2020({ strict: false, allErrors: true, validateFormats: false });
  ajv.addSchema({ ...document, $id: 'asyncapi' });
  const byType = new Map(
    Object.entries(document.components.schemas).map(([name, { properties }]) => [
      properties?.type?.const,
      name,
    ]),
  );
  return {
    message: (type: string) => {
      const name = byType.get(type);
      return name === undefined ? undefined : ajv.getSchema(`asyncapi#/components/schemas/${name}`);
    },
    outputs: (tool: string) => {
      const schema = tools.get(tool)!.outputs;
      return ajv.getSchema(String(schema.$id)) ?? ajv.compile(JSON.parse(JSON.stringify(schema)));
    },
  };
}

function check(validate: ValidateFunction, value: unknown, what: string): void {
  if (validate(value)) return;
  throw new Error(
    `${what} breaks its own schema: ${JSON.stringify(validate.errors)} in ${JSON.stringify(value).slice(0, 2000)}`,
  );
}

/** Which tool a task of an event has: of those that were seen. */
const toolOf = new Map<unknown, string>();
const keyOf = ({ sessionId, taskId }: Members) => `${String(sessionId)} ${String(taskId)}`;

/** Throws when an event, or another message of a stream, is not what the AsyncAPI document says, or outputs are not what
 *  their tool says. */
export function checkMessage(message: unknown): void {
  const { type, data } = message as { type: string; data?: Members };
  loaded ??= load();
  const validate = loaded.message(type);
  if (!validate) throw new Error(`no schema describes a message of the type ${type}`);
  check(validate, message, type);
  if (type === 'task.queued') toolOf.set(keyOf(message as Members), String(data?.tool));
  const tool = toolOf.get(keyOf(message as Members));
  if (type === 'task.ended' && tool !== undefined) checkOutputs(tool, data!.outputs, `${type} of ${tool}`);
}

function checkOutputs(tool: string, outputs: unknown, what: string): void {
  if (outputs === undefined || !tools.has(tool)) return;
  loaded ??= load();
  check(loaded.outputs(tool), outputs, `the outputs in ${what}`);
}

/** The same for whatever a reply holds of events and tasks. */
export function checkReply(body: unknown): void {
  if (typeof body !== 'object' || body === null) return;
  const { events, taskId, tool, outputs, task, items } = body as Members;
  if (Array.isArray(events)) events.forEach(checkMessage);
  if (taskId !== undefined && typeof tool === 'string') checkOutputs(tool, outputs, `a task of ${tool}`);
  if (task !== undefined) checkReply(task);
  if (Array.isArray(items)) items.forEach(checkReply);
}

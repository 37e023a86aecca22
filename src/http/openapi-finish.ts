// What the generator leaves undone: discriminator mappings, optional bodies, examples, and an order that never changes.
import type { ErrorCode } from '../errors.js';
import { ERROR_EXAMPLES } from './error-examples.js';
import { addPromises } from './openapi-promises.js';
import { problemDocument } from './problem.js';
import { PROBLEM_TYPE } from './problem-schema.js';

export interface OpenApiDocument {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, JsonObject>; examples?: Record<string, JsonObject> };
}

interface Operation {
  requestBody?: { required: boolean; content: Record<string, Media> };
  responses: Record<string, { description: string; content?: Record<string, Media> }>;
}

interface Media {
  schema: JsonObject;
  example?: unknown;
  examples?: unknown;
}

type JsonObject = Record<string, unknown>;

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];
/** What the generator writes for a reply that is described by its schema alone. */
const NO_DESCRIPTION = 'Default Response';
const REQUEST_ID = '5f0c2f6e-7d0e-4a53-9b0e-0a6f7c1f3f5d';
const COMPONENT = '#/components/schemas/';

export function finishDocument<T extends OpenApiDocument>(document: T): T {
  const schemas = sorted(document.components.schemas);
  for (const schema of Object.values(schemas)) addMapping(schema, schemas);
  const paths = sorted(document.paths);
  for (const [path, operations] of Object.entries(paths)) {
    paths[path] = Object.fromEntries(
      METHODS.flatMap((method) => (operations[method] ? [[method, operations[method]]] : [])),
    );
    for (const operation of Object.values(paths[path])) finishOperation(operation, schemas);
  }
  const examples = Object.fromEntries(
    Object.entries(ERROR_EXAMPLES).map(([code, error]) => [
      code,
      { value: problemDocument(error, REQUEST_ID) },
    ]),
  );
  // A copy: the schemas in it are those that requests and replies are checked with.
  const finished = JSON.parse(
    JSON.stringify({ ...document, paths, components: { ...document.components, examples, schemas } }),
  ) as T;
  addPromises(finished);
  return finished;
}

function finishOperation({ requestBody, responses }: Operation, schemas: Record<string, JsonObject>): void {
  if (requestBody) {
    const media = Object.values(requestBody.content);
    requestBody.required = media.some(({ schema }) => needsMembers(componentOf(schema, schemas)));
    for (const each of media) addExample(each, schemas);
  }
  for (const response of Object.values(responses)) {
    const { content } = response;
    if (response.description === NO_DESCRIPTION) {
      const [media] = Object.values(content ?? {});
      response.description = String((media && componentOf(media.schema, schemas).description) ?? 'OK');
    }
    for (const [type, each] of Object.entries(content ?? {})) {
      if (type === PROBLEM_TYPE)
        each.examples = errorExamples(Object.keys(each.examples as object) as ErrorCode[]);
      else addExample(each, schemas);
    }
  }
}

/** Without a mapping a discriminator's values would have to be the names of the schemas. */
function addMapping(schema: JsonObject, schemas: Record<string, JsonObject>): void {
  const discriminator = schema.discriminator as { propertyName: string; mapping?: JsonObject } | undefined;
  if (!discriminator) return;
  discriminator.mapping = Object.fromEntries(
    (schema.oneOf as { $ref: string }[]).map(({ $ref }) => {
      const { properties } = componentOf({ $ref }, schemas) as {
        properties: Record<string, { const: string }>;
      };
      return [properties[discriminator.propertyName]!.const, $ref];
    }),
  );
}

function addExample(media: Media, schemas: Record<string, JsonObject>): void {
  const example = (componentOf(media.schema, schemas).examples as unknown[] | undefined)?.[0];
  if (example !== undefined && media.example === undefined && media.examples === undefined)
    media.example = example;
}

function errorExamples(codes: readonly ErrorCode[]): JsonObject {
  return Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }]));
}

function needsMembers(schema: JsonObject): boolean {
  return (
    schema.oneOf !== undefined ||
    schema.minProperties !== undefined ||
    ((schema.required as []) ?? []).length > 0
  );
}

function componentOf(schema: JsonObject, schemas: Record<string, JsonObject>): JsonObject {
  return typeof schema.$ref === 'string' ? (schemas[schema.$ref.slice(COMPONENT.length)] ?? {}) : schema;
}

function sorted<T extends object>(record: T): T {
  return Object.fromEntries(Object.entries(record).sort(([a], [b]) => (a < b ? -1 : 1))) as T;
}

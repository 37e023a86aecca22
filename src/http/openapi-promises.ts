// What clients that are generated from the document need, and the routes' own schemas do not say: which headers replies
// have, that replies may get members later, and that a request member with a default may be left out.

type JsonObject = Record<string, unknown>;

interface Described {
  readonly paths: Record<string, Record<string, unknown>>;
  readonly components: { readonly schemas: Record<string, JsonObject>; headers?: JsonObject };
}

interface DescribedOperation {
  readonly requestBody?: unknown;
  readonly responses: Record<string, JsonObject>;
}

const COMPONENT = '#/components/schemas/';
const MAY_BE_LATER = new Set(['429', '503']);
const MAKES = new Set(['201', '202']);

const text = (description: string) => ({ description, schema: { type: 'string' } });
const HEADERS = {
  'X-Request-Id': text('The caller’s X-Request-Id, or one made here.'),
  'Retry-After': {
    description: 'Seconds to wait before another try.',
    schema: { type: 'integer', minimum: 1 },
  },
  Location: text('Where what was made can be read.'),
  'Idempotency-Replayed': text(
    '`true` when this is the stored reply of an earlier request with the same Idempotency-Key.',
  ),
  'WWW-Authenticate': text('How to authenticate.'),
};

function named(...names: (keyof typeof HEADERS)[]): JsonObject {
  return Object.fromEntries(names.map((name) => [name, { $ref: `#/components/headers/${name}` }]));
}

/** Changes the document in place. */
export function addPromises({ paths, components }: Described): void {
  components.headers = HEADERS;
  const requested = new Set<string>();
  for (const [path, item] of Object.entries(paths)) {
    for (const [method, each] of Object.entries(item)) {
      const operation = each as DescribedOperation;
      collect(operation.requestBody, components.schemas, requested);
      // Tokens and replies with their whole content have no address of their own.
      const hasLocation = method === 'post' && /\/(sessions|tasks|checkpoints|restore)$/.test(path);
      for (const [status, response] of Object.entries(operation.responses)) {
        response.headers = {
          ...named('X-Request-Id'),
          ...(MAY_BE_LATER.has(status) ? named('Retry-After') : {}),
          ...(hasLocation && MAKES.has(status) ? named('Location') : {}),
          ...(method === 'get' ? {} : named('Idempotency-Replayed')),
          ...(status === '401' ? named('WWW-Authenticate') : {}),
          ...((response.headers as JsonObject | undefined) ?? {}),
        };
      }
      if (operation.requestBody) describeDefaults(operation.requestBody);
    }
  }
  for (const [name, schema] of Object.entries(components.schemas)) {
    if (requested.has(name)) describeDefaults(schema);
    else open(schema);
  }
}

/** Names of the components that a request leads to. */
function collect(value: unknown, schemas: Record<string, JsonObject>, found: Set<string>): void {
  if (typeof value !== 'object' || value === null) return;
  for (const [key, member] of Object.entries(value)) {
    if (key === '$ref' && typeof member === 'string') {
      const name = member.slice(COMPONENT.length);
      if (!member.startsWith(COMPONENT) || found.has(name)) continue;
      found.add(name);
      collect(schemas[name], schemas, found);
    } else collect(member, schemas, found);
  }
}

/** A member with a `default` is to some generators one that is always there. */
function describeDefaults(value: unknown): void {
  walk(value, (schema) => {
    if (!('default' in schema) || !('type' in schema || '$ref' in schema || 'anyOf' in schema)) return;
    const said = `Default: \`${JSON.stringify(schema.default)}\`.`;
    schema.description = schema.description === undefined ? said : `${String(schema.description)} ${said}`;
    delete schema.default;
  });
}

/** A client that refuses what it does not know would refuse the next release. */
function open(value: unknown): void {
  walk(value, (schema) => {
    if (schema.additionalProperties === false) delete schema.additionalProperties;
  });
}

function walk(value: unknown, visit: (schema: JsonObject) => void): void {
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) visit(value as JsonObject);
  for (const [key, member] of Object.entries(value)) if (!/^examples?$/.test(key)) walk(member, visit);
}

// How requests are checked: JSON bodies as they are, text (query, path, headers) after conversion to the wanted type.
// Nothing is dropped or converted silently: an unknown member, or "5" for 5 in a body, is an error.
import { AjvCompiler } from '@fastify/ajv-compiler';
import { ValidationFailed, type Violation } from '../errors.js';
import { type SchemaError, toViolations } from './violations.js';

/** The rules that `data` breaks; none when it is valid. Fills in defaults. */
export type Check = (data: unknown) => readonly Violation[];

/** The named schemas of a server, as `app.getSchemas()` gives them. */
export type Schemas = Parameters<ReturnType<typeof AjvCompiler>>[0];
type Part = 'body' | 'querystring' | 'params' | 'headers';

const COMMON_OPTIONS = {
  strict: true,
  // Strict mode refuses unknown keywords; checking each schema against its meta-schema as well would cost every start
  // a second, and a test does it.
  validateSchema: false,
  strictTypes: false,
  discriminator: true,
  removeAdditional: false,
  useDefaults: true,
  /** Errors carry the value and the schema they are about. */
  verbose: true,
} as const;

const WHERE: Record<Part, string> = {
  body: '/body',
  querystring: '/query',
  params: '/params',
  headers: '/headers',
};

/** Listing every error of a value larger than this could cost more than the request itself; then the first is told. */
const MAX_VALUES_FOR_ALL_ERRORS = 2000;

/** Makes checks against the named schemas of a server. `where` begins the pointers in errors. A check is compiled when
 *  it is first wanted: all of them at once would be a third of the service's start. */
export function checkCompiler(schemas: Schemas, kind: 'json' | 'text') {
  const buildAjv = AjvCompiler();
  const coerceTypes = kind === 'text';
  const compiler = (allErrors: boolean) =>
    buildAjv(schemas, { customOptions: { ...COMMON_OPTIONS, coerceTypes, allErrors } });
  let first: ReturnType<typeof compiler> | undefined;
  let all: typeof first;
  return (schema: unknown, where: string): Check => {
    let isValid: Validator | undefined;
    let listErrors: Validator | undefined;
    const numbers = kind === 'text' ? numericMembers(schema) : [];
    return (data) => {
      const malformed = malformedNumbers(numbers, data, where);
      if (malformed.length > 0) return malformed;
      first ??= compiler(false);
      isValid ??= first({ schema } as never) as unknown as Validator;
      if (isValid(data)) return [];
      if (!hasFewValues(data)) return toViolations(isValid.errors!, where);
      all ??= compiler(true);
      listErrors ??= all({ schema } as never) as unknown as Validator;
      return toViolations(listErrors(data) ? isValid.errors! : listErrors.errors!, where);
    };
  };
}

interface NumericMember {
  readonly name: string;
  readonly isInteger: boolean;
}

/** The members of a query, of parameters or of headers that are to become numbers. */
function numericMembers(schema: unknown): NumericMember[] {
  const { properties = {} } = schema as { properties?: Record<string, { type?: unknown }> };
  return Object.entries(properties).flatMap(([name, { type }]) =>
    type === 'integer' || type === 'number' ? [{ name, isInteger: type === 'integer' }] : [],
  );
}

/** JavaScript reads `Infinity`, `0x10`, `1e1000` and ` 5` as numbers; a client means a plain decimal one. */
function malformedNumbers(members: readonly NumericMember[], data: unknown, where: string): Violation[] {
  return members.flatMap(({ name, isInteger }) => {
    const given = (data as Record<string, unknown> | undefined)?.[name];
    if (typeof given !== 'string') return [];
    const form = isInteger ? /^-?[0-9]{1,15}$/ : /^-?[0-9]{1,15}(\.[0-9]{1,15})?$/;
    if (form.test(given)) return [];
    const rule = isInteger
      ? 'must be a whole number in decimal digits, e.g. 50'
      : 'must be a number in decimal digits, e.g. 2.5';
    return [{ where: `${where}/${name}`, given, rule }];
  });
}

interface Validator {
  (data: unknown): boolean;
  errors?: SchemaError[];
}

/** Fastify's validator compiler; a route that checks its body in its own way uses it for the other parts. */
export function validatorCompiler(schemas: Schemas) {
  const json = checkCompiler(schemas, 'json');
  const text = checkCompiler(schemas, 'text');
  return ({ schema, httpPart }: { schema: unknown; httpPart?: string }) => {
    const part = (httpPart ?? 'body') as Part;
    if ((schema as { format?: string }).format === 'binary') return () => true;
    const check = (part === 'body' ? json : text)(schema, WHERE[part]);
    return (data: unknown): true | { error: Error } => {
      const violations = check(data);
      return violations.length === 0 ? true : { error: new ValidationFailed(violations) };
    };
  };
}

function hasFewValues(data: unknown): boolean {
  const waiting = [data];
  for (let seen = 0; waiting.length > 0; seen++) {
    if (seen + waiting.length > MAX_VALUES_FOR_ALL_ERRORS) return false;
    const value = waiting.pop();
    if (typeof value === 'object' && value !== null) {
      for (const key in value) {
        waiting.push((value as Record<string, unknown>)[key]);
        if (waiting.length > MAX_VALUES_FOR_ALL_ERRORS) return false;
      }
    }
  }
  return true;
}

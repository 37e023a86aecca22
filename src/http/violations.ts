// Turns what the schema validator found into words a caller can act on: where, what was given, what is wanted.
import type { Violation } from '../errors.js';
import { clip } from '../lib/clip.js';
import { closest } from '../lib/closest.js';
import { NO_NUL } from '../lib/typebox.js';
import { CLIENT_ID_PATTERN } from '../sessions/schema.js';

/** An error of Ajv in verbose mode. */
export interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly params: Record<string, unknown>;
  readonly message?: string;
  readonly data?: unknown;
  readonly parentSchema?: Record<string, unknown>;
  readonly propertyName?: string;
}

const MAX_VIOLATIONS = 20;
const MOST_SHOWN = 200;
const shown = (text: string) => clip(text, MOST_SHOWN);

const PATTERNS_IN_WORDS: Readonly<Record<string, string>> = {
  [CLIENT_ID_PATTERN]: 'must be 1 to 128 of A–Z a–z 0–9 . _ -, the first a letter or digit',
  '^[A-Za-z_][A-Za-z0-9_]{0,127}$':
    'must be 1 to 128 of A–Z a–z 0–9 _, the first a letter or underscore, as a name of an environment variable',
  [NO_NUL]: 'must not contain a NUL character',
  '^[^\\u0000]{1,128}$': 'must be 1 to 128 characters without NUL',
};

const FORMATS_IN_WORDS: Readonly<Record<string, string>> = {
  'date-time': 'must be an RFC 3339 time such as 2026-11-22T21:03:05Z',
  uri: 'must be a URI',
};

/** The violations behind the validator's errors, each place once, at most 20. `where` begins the pointers. */
export function toViolations(errors: readonly SchemaError[], where: string): Violation[] {
  const violations: Violation[] = [];
  for (const group of groupByPlace(errors)) {
    for (const error of withoutAlternatives(group)) {
      if (violations.length === MAX_VIOLATIONS) return violations;
      violations.push(toViolation(error, where));
    }
  }
  return violations;
}

function groupByPlace(errors: readonly SchemaError[]): SchemaError[][] {
  const groups = new Map<string, SchemaError[]>();
  for (const error of errors) {
    const group = groups.get(error.instancePath);
    if (group) group.push(error);
    else groups.set(error.instancePath, [error]);
  }
  return [...groups.values()];
}

/** "An integer, or null" fails once for each alternative and once as a whole: tell what is wrong with the alternative
 *  that was meant, or else name the types. */
function withoutAlternatives(group: SchemaError[]): SchemaError[] {
  if (!group.some(({ keyword }) => keyword === 'anyOf')) return group;
  const alternatives = group.filter(({ keyword }) => keyword !== 'anyOf');
  const meant = alternatives.filter(({ keyword }) => keyword !== 'type');
  if (meant.length > 0) return meant;
  const types = [...new Set(alternatives.flatMap(({ params }) => params.type as string | string[]))];
  return [{ ...group[0]!, keyword: 'type', params: { type: types } }];
}

function toViolation(error: SchemaError, where: string): Violation {
  const place = where + error.instancePath;
  const { params } = error;
  switch (error.keyword) {
    case 'required':
      return { where: `${place}/${escapePointer(params.missingProperty)}`, rule: 'is required' };
    case 'additionalProperties': {
      const name = String(params.additionalProperty);
      const value = (error.data as Record<string, unknown> | undefined)?.[name];
      return {
        where: `${place}/${escapePointer(shown(name))}`,
        given: preview(value),
        rule: unknownMember(name, error.parentSchema),
      };
    }
    default:
      return { where: place, given: preview(error.data), rule: ruleOf(error) };
  }
}

function ruleOf({ keyword, params, data, parentSchema, message }: SchemaError): string {
  switch (keyword) {
    case 'type':
      return `must be ${[params.type].flat().map(typeInWords).join(' or ')}`;
    case 'enum':
      return oneOf(params.allowedValues as unknown[], data);
    case 'const':
      return `must be ${JSON.stringify(params.allowedValue)}`;
    case 'discriminator': {
      const tag = String(params.tag);
      return params.error === 'tag' ? `${tag} must be a string` : `${tag} is not a known one`;
    }
    case 'minimum':
      return `must be at least ${params.limit}`;
    case 'maximum':
      return `must be at most ${params.limit}`;
    case 'exclusiveMinimum':
      return `must be more than ${params.limit}`;
    case 'exclusiveMaximum':
      return `must be less than ${params.limit}`;
    case 'minLength':
      return params.limit === 1 ? 'must not be empty' : `must have at least ${params.limit} characters`;
    case 'maxLength':
      return `must have at most ${params.limit} characters, has ${(data as string).length}`;
    case 'minItems':
      return params.limit === 1 ? 'must not be empty' : `must have at least ${params.limit} items`;
    case 'maxItems':
      return `must have at most ${params.limit} items, has ${(data as unknown[]).length}`;
    case 'minProperties':
      return `must have at least ${params.limit} member${params.limit === 1 ? '' : 's'}`;
    case 'maxProperties':
      return `must have at most ${params.limit} members, has ${Object.keys(data as object).length}`;
    case 'uniqueItems':
      return `must not repeat an item (${params.j} and ${params.i} are the same)`;
    case 'pattern':
      return PATTERNS_IN_WORDS[String(params.pattern)] ?? `must match ${params.pattern}`;
    case 'format':
      return FORMATS_IN_WORDS[String(params.format)] ?? `must be a ${params.format}`;
    default:
      return message ?? `breaks the rule ${keyword} of ${parentSchema?.$id ?? 'the schema'}`;
  }
}

function unknownMember(name: string, schema: Record<string, unknown> | undefined): string {
  const known = Object.keys((schema?.properties as object | undefined) ?? {});
  const pattern = Object.keys((schema?.patternProperties as object | undefined) ?? {})[0];
  const named = pattern && (PATTERNS_IN_WORDS[pattern] ?? `must match ${pattern}`);
  if (known.length === 0) return named ? `the name ${named}` : 'is not a known member; none are';
  const others = named ? `; any other name ${named}` : '';
  return `is not a known member${didYouMean(name, known)}; known are: ${known.join(', ')}${others}`;
}

function oneOf(allowed: unknown[], given: unknown): string {
  const words = allowed.map(String);
  return `must be one of: ${words.join(', ')}${typeof given === 'string' ? didYouMean(given, words) : ''}`;
}

function didYouMean(given: string, known: readonly string[]): string {
  const match = closest(given, known);
  return match === undefined ? '' : `; did you mean "${match}"?`;
}

function typeInWords(type: unknown): string {
  switch (type) {
    case 'null':
      return 'null';
    case 'integer':
    case 'array':
    case 'object':
      return `an ${type}`;
    default:
      return `a ${type}`;
  }
}

/** A short look at a value of any size and depth, without walking into it. */
function preview(value: unknown): unknown {
  if (typeof value === 'string') return shown(value);
  if (Array.isArray(value)) return `array of ${value.length}`;
  if (typeof value === 'object' && value !== null) {
    const names = Object.keys(value);
    return shown(
      `object with ${names.length === 0 ? 'no members' : names.slice(0, 10).map(shown).join(', ')}`,
    );
  }
  return value;
}

function escapePointer(name: unknown): string {
  return String(name).replaceAll('~', '~0').replaceAll('/', '~1');
}

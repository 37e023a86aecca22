// The one shape of every error reply, and how an operation says which errors it has.
import { type Static, Type } from '@sinclair/typebox';
import { ERROR_CODES, type ErrorCode } from '../errors.js';
import { closed, ref, stringEnum } from '../lib/typebox.js';

export const PROBLEM_TYPE = 'application/problem+json';

const codes = Object.keys(ERROR_CODES) as ErrorCode[];

export const Problem = Type.Object(
  {
    type: Type.String({ format: 'uri', description: 'The kind of problem as a URN; `code` says the same.' }),
    title: Type.String({ description: 'The kind of problem in words, the same each time.' }),
    status: Type.Integer({ description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What went wrong this time.' }),
    code: stringEnum(codes, { description: 'Stable: branch on this.' }),
    retryable: Type.Boolean({ description: 'True when the same request may succeed later, unchanged.' }),
    outcome: stringEnum(['notStarted', 'unknown', 'done'], {
      description:
        'Whether the work was begun: `notStarted` is safe to send again; after `unknown` look before you repeat.',
    }),
    suggestion: Type.Optional(Type.String({ description: 'The next step.' })),
    requestId: Type.String({ description: 'Also in X-Request-Id, and in every log line about the request.' }),
    errors: Type.Array(
      closed({
        where: Type.String({ description: 'JSON pointer into the request, e.g. `/body/limits/memoryMb`.' }),
        given: Type.Optional(Type.Unknown({ description: 'What was found there, shortened.' })),
        rule: Type.String({ description: 'What is wanted instead.' }),
      }),
      { description: 'Every violated rule of the request, 20 at most; empty for other problems.' },
    ),
  },
  {
    $id: 'Problem',
    description: 'RFC 9457 problem document. Some problems carry further members.',
  },
);
export type Problem = Static<typeof Problem>;

/** Errors that any operation can answer with. */
const COMMON: readonly ErrorCode[] = [
  'VALIDATION_FAILED',
  'UNAUTHORIZED',
  'HOST_NOT_ALLOWED',
  'ORIGIN_NOT_ALLOWED',
  'TOKEN_NOT_ALLOWED',
  'INTERNAL',
  'SHUTTING_DOWN',
  'STORE_UNAVAILABLE',
];

/** The `response` entries of a route for these codes and those that every operation has. */
export function errorResponses(...specific: ErrorCode[]): Record<number, ErrorResponse> {
  return responsesFor([...COMMON, ...specific]);
}

/** The `response` entries for exactly these codes. */
export function responsesFor(codes: Iterable<ErrorCode>): Record<number, ErrorResponse> {
  const all = [...new Set(codes)].sort();
  const statuses = [...new Set(all.map((code) => ERROR_CODES[code]))];
  return Object.fromEntries(
    statuses.map((status) => [status, errorResponse(all.filter((code) => ERROR_CODES[code] === status))]),
  );
}

export interface ErrorResponse {
  readonly description: string;
  readonly 'x-error-codes': readonly ErrorCode[];
  readonly content: Record<string, unknown>;
}

function errorResponse(group: readonly ErrorCode[]): ErrorResponse {
  return {
    description: group.map((code) => `\`${code}\``).join(', '),
    'x-error-codes': group,
    content: {
      [PROBLEM_TYPE]: {
        schema: ref(Problem),
        // Named here, written once under components by openapi-finish.
        examples: Object.fromEntries(group.map((code) => [code, {}])),
      },
    },
  };
}

export function problemTitle(code: ErrorCode): string {
  const words = code.toLowerCase().replaceAll('_', ' ');
  return words[0]!.toUpperCase() + words.slice(1);
}

export function problemType(code: ErrorCode): string {
  return `urn:codegen-worker:problem:${code}`;
}

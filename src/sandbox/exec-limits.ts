// What Linux takes when a program is started. More fails with E2BIG only then; so it is refused when it is asked for.
import { ValidationFailed } from '../errors.js';
import type { Violation } from '../lib/public-error.js';

/** Of one argument, or of one `NAME=value`, with the NUL at its end. Source: MAX_ARG_STRLEN, 32 pages of 4 KiB. */
const STRING_BYTES = 131_072;
/** Of a session's environment. The kernel takes 2 MiB for all arguments and variables of a program (a quarter of the usual
 *  stack of 8 MiB): this leaves room for those of a task, and for what the service and programs add. */
const SESSION_ENV_BYTES = 1024 * 1024;
/** Of arguments and environment of a task, on top of its session's. */
const TASK_BYTES = 768 * 1024;
/** Each costs a pointer beside its bytes. */
const POINTER_BYTES = 8;

type Env = Readonly<Record<string, string>>;

const bytesOf = (text: string) => Buffer.byteLength(text) + 1;
const variables = (env: Env) => Object.entries(env).map(([name, value]) => `${name}=${value}`);
const total = (texts: readonly string[]) =>
  texts.reduce((sum, text) => sum + bytesOf(text) + POINTER_BYTES, 0);

/** Throws ValidationFailed for an environment with which no program could be started. */
export function checkSessionEnv(env: Env): void {
  const where = '/body/env';
  refuse([...tooLongVariables(env, where), ...tooMuch(where, variables(env), SESSION_ENV_BYTES, 'a file')]);
}

/** The same for a task; `command` is what it is started with, if the client gave it. */
export function checkTaskProgram({
  env = {},
  command = [],
}: {
  readonly env?: Env | undefined;
  readonly command?: string | readonly string[];
}): void {
  const where = '/body/arguments';
  const argv = typeof command === 'string' ? [command] : command;
  const tooLong = argv.flatMap((text, index): Violation[] => {
    const place = typeof command === 'string' ? `${where}/command` : `${where}/command/${index}`;
    return tooLongString(place, text, 'write it to a file, or give it as stdin');
  });
  const all = [...argv, ...variables(env)];
  refuse([
    ...tooLong,
    ...tooLongVariables(env, `${where}/env`),
    ...tooMuch(where, all, TASK_BYTES, 'stdin or a file'),
  ]);
}

function tooLongVariables(env: Env, where: string): Violation[] {
  return Object.keys(env).flatMap((name) =>
    tooLongString(`${where}/${name}`, `${name}=${env[name]}`, 'write it to a file'),
  );
}

function tooLongString(where: string, text: string, instead: string): Violation[] {
  const bytes = bytesOf(text) - 1;
  if (bytes < STRING_BYTES) return [];
  const rule = `must have at most ${STRING_BYTES - 1} bytes, the kernel's limit for one argument or variable, has ${bytes}; ${instead}`;
  return [{ where, rule }];
}

function tooMuch(where: string, texts: readonly string[], most: number, instead: string): Violation[] {
  const bytes = total(texts);
  if (bytes <= most) return [];
  const rule = `must take at most ${most} bytes in all, so that programs can be started with it, takes ${bytes}; use ${instead} for large data`;
  return [{ where, rule }];
}

function refuse(violations: readonly Violation[]): void {
  if (violations.length > 0) throw new ValidationFailed(violations);
}

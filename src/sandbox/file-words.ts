// What a caller reads when a file operation could not be done: the fact, and the next step.
import { FileError } from './sandbox.js';

type FileErrorCode = FileError['code'];

interface Refused {
  readonly path: string;
  /** What else the helper knows; from inside the sandbox, so only shown, never acted on. */
  readonly facts: Readonly<Record<string, unknown>>;
}

const WORDS: Readonly<Record<FileErrorCode, (refused: Refused) => string>> = {
  FILE_NOT_FOUND: ({ path }) => `There is no ${path} in the workspace; fs.list shows what there is.`,
  NOT_A_FILE: ({ path, facts }) =>
    `${path} is ${facts.type === 'other' ? 'a device, FIFO or socket' : 'a directory'}, not a file.`,
  NOT_A_DIRECTORY: ({ path }) =>
    `${path}, or something on the way to it, is not a directory; fs.stat tells what it is.`,
  FILE_EXISTS: ({ path }) => `${path} exists already; choose another name, or remove it first.`,
  DIRECTORY_NOT_EMPTY: ({ path }) =>
    `The directory ${path} is not empty; repeat with "recursive": true, or empty it first.`,
  PATH_OUTSIDE_WORKSPACE: ({ path }) =>
    `${path} leads out of the workspace; give a path relative to it, and no symlink that leaves it.`,
  PERMISSION_DENIED: ({ path, facts }) =>
    facts.readOnly === true
      ? `${path} is read-only; change its mode, or remove it first.`
      : `The permissions of ${path}, or of a directory on the way to it, do not allow this; change its mode first.`,
  NAME_TOO_LONG: ({ path }) =>
    `${path.slice(0, 64)}… is too long: a name may have 255 bytes and a path 4096; work from a nearer directory.`,
  TOO_MANY_SYMLINKS: ({ path }) =>
    `${path} passes through more than 40 symlinks; give the path it stands for.`,
  DISK_FULL: ({ path }) =>
    `The workspace has no room for ${path}; remove files, or give the session a larger diskMb.`,
  FILE_TOO_LARGE: ({ path, facts }) =>
    `${path} has ${facts.sizeBytes} bytes, and ${facts.maxBytes} can be read at once; use offset and length.`,
  FILE_ERROR: ({ path, facts }) => `${path}: ${facts.detail ?? 'the file could not be worked on'}.`,
};

/** The error for a code the helper sent. */
export function refusal(path: string, facts: Readonly<Record<string, unknown>>): FileError {
  const code =
    typeof facts.code === 'string' && Object.hasOwn(WORDS, facts.code)
      ? (facts.code as FileErrorCode)
      : 'FILE_ERROR';
  return new FileError(code, WORDS[code]({ path: JSON.stringify(path), facts }));
}

// How a failure crosses from a worker to the service: as data there, as one of the store's errors here.
import { OutOfDisk, StoreUnavailable } from '../errors.js';
import { SqliteError } from './database.js';
import { DuplicateKey, UnitRejected } from './store.js';

export type Failure =
  | { readonly kind: 'rejected'; readonly label: string }
  | { readonly kind: 'duplicate'; readonly constraint: string }
  | { readonly kind: 'full' | 'unavailable' | 'mistake'; readonly message: string };

/** SQLite's result codes: the low byte is the family, the rest says more. */
const FAMILY = { error: 1, full: 13, tooBig: 18, constraint: 19, mismatch: 20, misuse: 21, range: 25 };
const UNIQUE = [2067, 1555, 2579];

export function toFailure(error: unknown): Failure {
  if (error instanceof UnitRejected) return { kind: 'rejected', label: error.label };
  const message = error instanceof Error ? error.message : String(error);
  if (!(error instanceof SqliteError)) return { kind: 'mistake', message };
  if (UNIQUE.includes(error.code)) {
    return { kind: 'duplicate', constraint: message.replace(/^.*constraint failed: /, '') };
  }
  switch (error.code & 0xff) {
    case FAMILY.full:
      return { kind: 'full', message };
    case FAMILY.error:
    case FAMILY.tooBig:
    case FAMILY.constraint:
    case FAMILY.mismatch:
    case FAMILY.misuse:
    case FAMILY.range:
      return { kind: 'mistake', message };
    default:
      return { kind: 'unavailable', message: `${message} (SQLite code ${error.code})` };
  }
}

/** True when the failure is of the unit alone, and the others that share its transaction may go on. */
export function isOfTheUnit(failure: Failure): boolean {
  return failure.kind !== 'full' && failure.kind !== 'unavailable';
}

export function toError(failure: Failure): Error {
  switch (failure.kind) {
    case 'rejected':
      return new UnitRejected(failure.label);
    case 'duplicate':
      return new DuplicateKey(failure.constraint);
    case 'full':
      return new OutOfDisk(new Error(failure.message));
    case 'unavailable':
      return new StoreUnavailable(new Error(failure.message));
    case 'mistake':
      return new Error(`The store was asked for something impossible: ${failure.message}`);
    default:
      return failure satisfies never;
  }
}

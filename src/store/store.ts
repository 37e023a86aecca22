// The one place state is kept. Reads are Kysely queries; a write is a unit of statements that holds whole or not at all.
import type { Kysely } from 'kysely';
import type { Tables } from './schema.js';

/** A compiled statement: `?` placeholders, as Kysely's `compile()` gives it. */
export interface Statement {
  readonly sql: string;
  readonly parameters: readonly unknown[];
  /** The unit is undone with `UnitRejected` when this statement changes no row: compare-and-set, and fencing later. */
  readonly mustChange?: string;
}

export interface StatementResult {
  readonly changes: number;
  /** Of a statement with `returning`, which may change one row and no more. */
  readonly row?: Readonly<Record<string, unknown>>;
}

/** A unit was undone because the statement with this `mustChange` label changed nothing. */
export class UnitRejected extends Error {
  constructor(readonly label: string) {
    super(`no row to change: ${label}`);
  }
}

/** A unit was undone because a unique key was already there; `constraint` names table and columns. */
export class DuplicateKey extends Error {
  constructor(readonly constraint: string) {
    super(`duplicate key: ${constraint}`);
  }
}

export interface StoreSize {
  /** What is kept. */
  readonly usedBytes: number;
  /** The file, whose free pages are used again before it grows. */
  readonly fileBytes: number;
}

export interface Store {
  start(): Promise<void>;
  close(): Promise<void>;
  /** For reads, and for building statements (`.compile()`). */
  readonly query: Kysely<Tables>;
  /** Durable when it resolves. Units are applied in the order of the calls; those that wait together share one
   *  transaction and one fsync. Rejects with UnitRejected, DuplicateKey, OutOfDisk or StoreUnavailable, and then
   *  nothing of this unit, and nothing of another, is changed; only StoreUnavailable with the outcome `unknown` leaves
   *  open whether the whole unit holds. A read that follows tells. */
  write(unit: readonly Statement[]): Promise<readonly StatementResult[]>;
  size(): Promise<StoreSize>;
}

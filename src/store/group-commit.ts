// Units that wait together share one transaction and one fsync; one that is alone waits for nobody. Each runs under
// its own savepoint, so that a unit which is refused undoes itself and no other.
import type { Database } from './database.js';
import { type Failure, isOfTheUnit, toFailure } from './failure.js';
import type { Statements } from './statements.js';
import { type Statement, type StatementResult, UnitRejected } from './store.js';

export interface Unit {
  readonly id: number;
  readonly statements: readonly Statement[];
}

export interface UnitResults {
  readonly results: readonly StatementResult[];
}

export type UnitOutcome = { readonly id: number } & (UnitResults | { readonly failure: Failure });

/** Where a group ends although more is waiting, so that its first unit need not wait long. */
const MAX_UNITS = 256;
const MAX_MS = 20;

/** Applies `first` and what `next` gives, commits, and tells the outcome of each; it never throws. */
export function commitGroup(
  db: Database,
  statements: Statements,
  first: Unit,
  next: () => Unit | undefined,
): UnitOutcome[] {
  const outcomes: UnitOutcome[] = [];
  const began = performance.now();
  try {
    statements.get('begin immediate').run([]);
    for (let unit: Unit | undefined = first; unit; ) {
      // Noted as failed until it has held, so that a unit at which the disk fills up is answered too.
      const index = outcomes.push({ id: unit.id, failure: NOT_APPLIED }) - 1;
      outcomes[index] = applyUnit(statements, unit);
      const more: boolean = outcomes.length < MAX_UNITS && performance.now() - began < MAX_MS;
      unit = more ? next() : undefined;
    }
    statements.get('commit').run([]);
    return outcomes;
  } catch (error) {
    undo(db);
    const failure = toFailure(error);
    if (outcomes.length === 0) outcomes.push({ id: first.id, failure });
    return outcomes.map((outcome) =>
      'failure' in outcome && outcome.failure !== NOT_APPLIED ? outcome : { id: outcome.id, failure },
    );
  }
}

const NOT_APPLIED: Failure = { kind: 'unavailable', message: 'the unit was not applied' };

function applyUnit(statements: Statements, unit: Unit): UnitOutcome {
  statements.get('savepoint unit').run([]);
  try {
    const results = unit.statements.map((statement) => applyStatement(statements, statement));
    statements.get('release unit').run([]);
    return { id: unit.id, results };
  } catch (error) {
    const failure = toFailure(error);
    if (!isOfTheUnit(failure)) throw error;
    statements.get('rollback to unit').run([]);
    statements.get('release unit').run([]);
    return { id: unit.id, failure };
  }
}

function applyStatement(statements: Statements, { sql, parameters, mustChange }: Statement): StatementResult {
  const statement = statements.get(sql);
  const result =
    statement.columns.length > 0
      ? rowOf(statement.columns, statement.get(parameters))
      : { changes: statement.run(parameters) };
  if (mustChange !== undefined && result.changes === 0) throw new UnitRejected(mustChange);
  return result;
}

function rowOf(columns: readonly string[], row: readonly unknown[] | undefined): StatementResult {
  if (!row) return { changes: 0 };
  return { changes: 1, row: Object.fromEntries(columns.map((column, index) => [column, row[index]])) };
}

/** SQLite ends some transactions by itself when the disk is full; then there is nothing left to roll back. */
function undo(db: Database): void {
  try {
    db.exec('rollback');
  } catch {}
}

// Statements are prepared once and kept, the longest unused going first.
import type { Database, PreparedStatement } from './database.js';

export class Statements {
  readonly #db: Database;
  readonly #limit: number;
  readonly #prepared = new Map<string, PreparedStatement>();

  constructor(db: Database, limit = 500) {
    this.#db = db;
    this.#limit = limit;
  }

  get(sql: string): PreparedStatement {
    let statement = this.#prepared.get(sql);
    if (statement) this.#prepared.delete(sql);
    else statement = this.#db.prepare(sql);
    this.#prepared.set(sql, statement);
    if (this.#prepared.size > this.#limit) {
      this.#prepared.delete(this.#prepared.keys().next().value!);
    }
    return statement;
  }
}

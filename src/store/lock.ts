// One service per store. SQLite's own lock on a file of its own is held as long as the service lives; the kernel
// releases it with the process, so a crash leaves nothing to clean up. Nobody else may open that file in this process:
// closing any descriptor of it would give the lock away.
import { readFileSync, statSync } from 'node:fs';
import { type Database, openDatabase, SqliteError } from './database.js';

const SQLITE_BUSY = 5;

export class StoreInUse extends Error {
  constructor(path: string, pid: number | undefined) {
    const holder = pid === undefined ? 'another process' : `process ${pid}`;
    super(
      `The store is in use by ${holder}, which holds ${path}. ` +
        'Stop that service first, or give this one a DATA_DIR of its own.',
    );
  }
}

/** Takes the lock at once or throws StoreInUse; closing the returned connection gives it back. */
export function lockStore(path: string): Database {
  const connection = openDatabase(path);
  try {
    connection.exec('pragma busy_timeout = 0');
    connection.exec('begin exclusive');
    return connection;
  } catch (error) {
    connection.close();
    if (error instanceof SqliteError && (error.code & 0xff) === SQLITE_BUSY) {
      throw new StoreInUse(path, holderOf(path));
    }
    throw error;
  }
}

/** The process that holds a lock on the file, where the kernel tells. */
function holderOf(path: string): number | undefined {
  try {
    const { ino } = statSync(path);
    const lock = readFileSync('/proc/locks', 'utf8')
      .split('\n')
      .find((line) => line.includes(`:${ino} `));
    const pid = Number(lock?.trim().split(/\s+/)[4]);
    return pid > 0 ? pid : undefined;
  } catch {
    return undefined;
  }
}

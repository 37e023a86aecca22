import t from 'tap';
import { OutOfDisk, StoreUnavailable } from '../../src/errors.js';
import { SqliteError } from '../../src/store/database.js';
import { isOfTheUnit, toError, toFailure } from '../../src/store/failure.js';
import { DuplicateKey, UnitRejected } from '../../src/store/store.js';

const sqlite = (code: number, message = 'words of SQLite') =>
  toFailure(new SqliteError(code, new Error(message)));

t.test('each failure becomes the error its name promises', async (t) => {
  t.type(toError(sqlite(13)), OutOfDisk, 'SQLITE_FULL');
  t.type(toError(sqlite(10)), StoreUnavailable, 'SQLITE_IOERR');
  t.type(toError(sqlite(10 | (4 << 8))), StoreUnavailable, 'SQLITE_IOERR_FSYNC');
  t.type(toError(sqlite(11)), StoreUnavailable, 'SQLITE_CORRUPT');
  t.match(toError(sqlite(1555, 'UNIQUE constraint failed: a.b')), new DuplicateKey('a.b'));
  t.match(toError(sqlite(2067, 'UNIQUE constraint failed: a.b, a.c')), new DuplicateKey('a.b, a.c'));
  t.match(toError(toFailure(new UnitRejected('lease'))), new UnitRejected('lease'));
  t.match(toError(sqlite(1)).message, /impossible: words of SQLite/);
  t.match(toError(toFailure(new TypeError('not bindable'))).message, /not bindable/);
});

t.test('only the disk and the store itself fail the neighbours of a unit', async (t) => {
  for (const code of [13, 10, 11, 14, 8, 5]) t.notOk(isOfTheUnit(sqlite(code)), `code ${code}`);
  for (const code of [1, 19, 1555, 1299, 20]) t.ok(isOfTheUnit(sqlite(code)), `code ${code}`);
});

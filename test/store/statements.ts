import t from 'tap';
import { openDatabase } from '../../src/store/database.js';
import { Statements } from '../../src/store/statements.js';

t.test('a statement is prepared once while it is in use, and few are kept', async (t) => {
  const db = openDatabase(':memory:');
  t.teardown(() => db.close());
  const statements = new Statements(db, 2);
  const one = statements.get('select 1');
  const two = statements.get('select 2');
  t.equal(statements.get('select 1'), one);
  statements.get('select 3');
  t.equal(statements.get('select 1'), one, 'the one used last is kept');
  t.not(statements.get('select 2'), two, 'the longest unused went');
  t.same(one.all([]).rows, [[1]]);
});

import t from 'tap';
import { Undo } from '../../src/lib/undo.js';

t.test('steps are undone backwards, once, however often it is asked', async (t) => {
  const undone: string[] = [];
  const undo = new Undo();
  undo.push('first', () => undone.push('first'));
  undo.push('second', async () => undone.push('second'));
  await Promise.all([undo.run(), undo.run()]);
  await undo.run();
  t.same(undone, ['second', 'first']);
});

t.test('a step that fails keeps no other from being undone, and is told by name', async (t) => {
  const undone: string[] = [];
  const undo = new Undo();
  undo.push('first', () => undone.push('first'));
  undo.push('second', () => Promise.reject(new Error('no')));
  await t.rejects(undo.run(), { message: 'could not undo: second', cause: { message: 'no' } });
  t.same(undone, ['first']);
});

t.test('several failures are joined', async (t) => {
  const undo = new Undo();
  for (const name of ['a', 'b']) {
    undo.push(name, () => {
      throw new Error(name);
    });
  }
  await t.rejects(undo.run(), { message: 'could not undo: b; could not undo: a', errors: [{}, {}] });
});

import t from 'tap';
import { SendWindow } from '../../src/sandbox/send-window.js';

function open(window: SendWindow): string[] {
  const sent: string[] = [];
  window.open(
    (bytes) => sent.push(Buffer.from(bytes).toString()),
    () => sent.push('END'),
  );
  return sent;
}

t.test('only so much is under way, and the rest follows as it is taken', async (t) => {
  const window = new SendWindow(4);
  const first = window.write(Buffer.from('abc'));
  const second = window.write(Buffer.from('defg'));
  window.end();
  const sent = open(window);
  t.same(sent, ['abc', 'd']);
  t.ok(window.confirm(3));
  await first;
  t.same(sent, ['abc', 'd', 'efg', 'END']);
  t.ok(window.confirm(4));
  await second;
});

t.test('what was written last counts as taken only when all of it is', async (t) => {
  const window = new SendWindow(100);
  open(window);
  let isTaken = false;
  const taken = window.write(Buffer.from('abcd')).then(() => {
    isTaken = true;
  });
  window.confirm(3);
  await new Promise(setImmediate);
  t.notOk(isTaken);
  window.confirm(1);
  await taken;
});

t.test('nobody can take more than was sent', async (t) => {
  const window = new SendWindow(100);
  open(window);
  void window.write(Buffer.from('ab'));
  t.notOk(window.confirm(3));
});

t.test('when nobody takes anything any more, every writer is told so', async (t) => {
  const window = new SendWindow(2);
  open(window);
  const writes = [window.write(Buffer.from('ab')), window.write(Buffer.from('cd'))];
  window.fail(new Error('gone'));
  for (const write of writes) await t.rejects(write, { message: 'gone' });
  await t.rejects(window.write(Buffer.from('e')), { message: 'gone' });
});

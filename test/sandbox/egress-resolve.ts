import t from 'tap';
import { LookUpTurns } from '../../src/sandbox/egress-resolve.js';

t.test('a sandbox with many slow names delays another by one lookup at most', async (t) => {
  const asked: string[] = [];
  const answers: (() => void)[] = [];
  const turns = new LookUpTurns((host) => {
    asked.push(host);
    return new Promise((resolve) => answers.push(() => resolve([host])));
  }, 2);
  const [one, two, three] = [turns.forSandbox(), turns.forSandbox(), turns.forSandbox()];
  const slow = Array.from({ length: 64 }, (_, index) => one(`slow-${index}`));
  const others = [two('two'), three('three')];
  await new Promise(setImmediate);
  t.same(asked, ['slow-0', 'two'], 'one of each sandbox, two of all');
  answers[0]!();
  await new Promise(setImmediate);
  t.same(asked, ['slow-0', 'two', 'three'], 'who waited longest is next');
  for (let at = 1; at < 66; at += 1) {
    answers[at]!();
    await new Promise(setImmediate);
  }
  t.same(await Promise.all(others), [['two'], ['three']]);
  t.equal((await Promise.all(slow)).length, 64);
});

t.test('a lookup that fails gives its turn on', async (t) => {
  const turns = new LookUpTurns(async (host) => {
    if (host === 'bad') throw new Error('no such name');
    return [host];
  }, 1);
  const one = turns.forSandbox();
  await t.rejects(one('bad'));
  t.same(await one('good'), ['good']);
  t.same(await turns.forSandbox()('other'), ['other']);
});

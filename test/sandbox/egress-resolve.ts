import t from 'tap';
import { LookUpTurns, resolveDestination } from '../../src/sandbox/egress-resolve.js';

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

t.test('an address of the internet that this machine has is one of its own', async (t) => {
  const at = (mayBePrivate: boolean, address: string) =>
    resolveDestination(
      { host: 'name.example', port: 80 },
      {
        mayBePrivate,
        forbidden: [],
        lookUp: async () => [address],
        ownAddresses: ['198.100.1.1', '2606:4700::1'],
      },
    );
  for (const address of ['198.100.1.1', '::ffff:198.100.1.1', '64:ff9b::c664:101', '2606:4700:0::1']) {
    await t.rejects(at(false, address), { message: /private/ }, address);
    t.same(await at(true, address), { addresses: [address], isPrivate: true });
  }
  t.same(await at(false, '198.100.1.2'), { addresses: ['198.100.1.2'], isPrivate: false });
});

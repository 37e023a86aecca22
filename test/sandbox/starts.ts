import { setImmediate as turn } from 'node:timers/promises';
import t from 'tap';
import { type Deferred, deferred } from '../../src/lib/deferred.js';
import { Starts } from '../../src/sandbox/starts.js';

interface Options {
  readonly owner?: string;
  readonly signal?: AbortSignal;
  /** Default: when it is ready. */
  readonly calm?: Deferred<void>;
}

/** Starts that are counted, and are ready when told. */
function counted(starts: Starts) {
  const begun: string[] = [];
  return {
    begun,
    start(name: string, { owner = '', signal, calm }: Options = {}) {
      const ready = deferred();
      const started = starts.inTurn({ owner, sandbox: name, signal }, async () => {
        begun.push(name);
        return { ready: ready.promise, calm: calm?.promise ?? ready.promise };
      });
      return { started, ready };
    },
  };
}

t.test('so many start at once, and the others in their order as those are ready', async (t) => {
  const { begun, start } = counted(new Starts(2));
  const [a, b] = [start('a'), start('b'), start('c'), start('d')];
  await turn();
  t.strictSame(begun, ['a', 'b']);
  b!.ready.resolve();
  await turn();
  t.strictSame(begun, ['a', 'b', 'c']);
  a!.ready.resolve();
  await turn();
  t.strictSame(begun, ['a', 'b', 'c', 'd']);
});

t.test('a start that fails, or is never ready, makes room', async (t) => {
  const starts = new Starts(1);
  const { begun, start } = counted(starts);
  await t.rejects(
    starts.inTurn({ owner: '', sandbox: 'failing' }, async () => {
      throw new Error('no bubblewrap');
    }),
    { message: 'no bubblewrap' },
  );
  const dying = start('dying');
  start('next');
  dying.ready.reject(new Error('it ended'));
  await turn();
  t.strictSame(begun, ['dying', 'next']);
});

t.test('a start that hangs keeps the others waiting for a while only', async (t) => {
  const { begun, start } = counted(new Starts(1, 300));
  const hung = start('hung');
  const next = start('next');
  await hung.started;
  t.strictSame(begun, ['hung']);
  // Our own timer does not keep the process alive, which is all there is here.
  const alive = setTimeout(() => {}, 60_000);
  t.teardown(() => clearTimeout(alive));
  await next.started;
  t.strictSame(begun, ['hung', 'next']);
  hung.ready.resolve();
  start('third');
  await turn();
  t.strictSame(begun, ['hung', 'next'], 'its place is not given away twice');
});

t.test('owners take turns, and it can be seen when whose turn comes', async (t) => {
  const starts = new Starts(1);
  const { begun, start } = counted(starts);
  const first = start('first', { owner: 'many' });
  for (const name of ['b', 'c', 'd']) start(name, { owner: 'many' });
  start('z', { owner: 'few' });
  t.strictSame(
    ['first', 'b', 'z', 'c', 'd', 'none'].map((name) => starts.position(name)),
    [0, 1, 2, 3, 4, 0],
  );
  t.equal(starts.waiting, 4);
  first.ready.resolve();
  await turn();
  t.strictSame(begun, ['first', 'b']);
  t.equal(starts.position('z'), 1);
});

t.test('a start that is not wanted any more leaves the queue at once', async (t) => {
  const starts = new Starts(1);
  const { begun, start } = counted(starts);
  const [first, leaving] = [start('first'), new AbortController()];
  const left = start('left', { signal: leaving.signal });
  start('next');
  leaving.abort(new Error('the sandbox is closed'));
  await t.rejects(left.started, { message: 'the sandbox is closed' });
  t.equal(starts.position('next'), 1);
  await t.rejects(start('late', { signal: leaving.signal }).started, { message: 'the sandbox is closed' });
  first.ready.resolve();
  await turn();
  t.strictSame(begun, ['first', 'next']);
});

t.test('others follow when it is calm, or has been ready for a while', async (t) => {
  const { begun, start } = counted(new Starts(1, 200));
  const calm = deferred();
  const first = start('first', { calm });
  const second = start('second', { calm: deferred() });
  const third = start('third');
  first.ready.resolve();
  await turn();
  t.strictSame(begun, ['first'], 'it is ready, and still at work');
  calm.resolve();
  await second.started;
  t.strictSame(begun, ['first', 'second']);
  second.ready.resolve();
  const alive = setTimeout(() => {}, 60_000);
  t.teardown(() => clearTimeout(alive));
  await third.started;
  t.strictSame(begun, ['first', 'second', 'third']);
});

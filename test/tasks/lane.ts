import t from 'tap';
import { deferred } from '../../src/lib/deferred.js';
import { type Job, Lane } from '../../src/tasks/lane.js';
import { Places } from '../../src/tasks/places.js';

/** A job that notes its start and runs until it is let go. */
function job(name: string, started: string[]) {
  const gate = deferred<void>();
  const run = async () => {
    started.push(name);
    await gate.promise;
  };
  return { run, finish: () => gate.resolve() } satisfies Job & { finish(): void };
}

const laneOf = (concurrency: number) =>
  new Lane({ concurrency, places: new Places({ total: 100, perTenant: 100 }), tenant: 'default' });

const turn = () => new Promise((resolve) => setImmediate(resolve));

t.test('jobs start in the order in which they came, as many at once as the lane allows', async (t) => {
  const started: string[] = [];
  const lane = laneOf(2);
  const [a, b, c] = [job('a', started), job('b', started), job('c', started)];
  for (const item of [a, b, c]) lane.add(item);
  t.same(started, ['a', 'b']);
  t.equal(lane.position(c), 1);
  b.finish();
  await turn();
  t.same(started, ['a', 'b', 'c']);
  a.finish();
  c.finish();
  await lane.whenIdle();
  t.equal(lane.running, 0);
});

t.test('a lane that shares its places asks for the next one before it gives one back', async (t) => {
  const started: string[] = [];
  const places = new Places({ total: 2, perTenant: 2 });
  const [a, b] = [1, 2].map(() => new Lane({ concurrency: 2, places, tenant: 'default' })) as [Lane, Lane];
  const ofA = ['a1', 'a2', 'a3'].map((name) => job(name, started));
  const ofB = ['b1', 'b2'].map((name) => job(name, started));
  for (const item of ofA) a.add(item);
  for (const item of ofB) b.add(item);
  for (const item of [ofA[0], ofB[0], ofA[1], ofA[2], ofB[1]]) {
    item!.finish();
    await turn();
  }
  t.same(started, ['a1', 'a2', 'b1', 'a3', 'b2'], 'what asked in between comes after it');
});

t.test('a background job starts at once and holds no place', async (t) => {
  const started: string[] = [];
  const lane = laneOf(1);
  const first = job('first', started);
  const beside = job('beside', started);
  const second = job('second', started);
  lane.add(first);
  lane.add(second);
  lane.addBackground(beside);
  t.same(started, ['first', 'beside']);
  t.equal(lane.inBackground, 1);
  for (const item of [first, beside, second]) item.finish();
  await lane.whenIdle();
  t.same(started, ['first', 'beside', 'second']);
});

t.test('a held lane starts nothing, background included, until every hold is gone', async (t) => {
  const started: string[] = [];
  const lane = laneOf(2);
  const letGo = lane.hold();
  const letGoToo = lane.hold();
  const a = job('a', started);
  const b = job('b', started);
  lane.add(a);
  lane.addBackground(b);
  letGo();
  letGo();
  t.same(started, [], 'one hold is left');
  letGoToo();
  t.same(started, ['b', 'a']);
  a.finish();
  b.finish();
  await lane.whenIdle();
});

t.test('a background job that comes to a held lane starts beside it when the hold ends', async (t) => {
  const started: string[] = [];
  const lane = laneOf(1);
  const running = job('running', started);
  const beside = job('beside', started);
  const taken = job('taken', started);
  lane.add(running);
  const letGo = lane.hold();
  lane.addBackground(beside);
  lane.addBackground(taken);
  t.equal(lane.inBackground, 2);
  t.equal(lane.waiting, 0);
  t.equal(lane.remove(taken), true);
  letGo();
  t.same(started, ['running', 'beside']);
  running.finish();
  beside.finish();
  await lane.whenIdle();
});

t.test('a waiting job can be taken out, a running one cannot', async (t) => {
  const started: string[] = [];
  const lane = laneOf(1);
  const running = job('running', started);
  const waiting = job('waiting', started);
  lane.add(running);
  lane.add(waiting);
  t.equal(lane.remove(waiting), true);
  t.equal(lane.remove(waiting), false);
  t.equal(lane.remove(running), false);
  running.finish();
  await lane.whenIdle();
  t.same(started, ['running']);
});

t.test('whenIdle resolves at once for an idle lane and for everyone who waits', async (t) => {
  const lane = laneOf(1);
  await lane.whenIdle();
  const only = job('only', []);
  lane.add(only);
  const both = Promise.all([lane.whenIdle(), lane.whenIdle()]);
  only.finish();
  await both;
  t.equal(lane.waiting, 0);
});

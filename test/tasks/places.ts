import * as fc from 'fast-check';
import t from 'tap';
import { type Contender, Places } from '../../src/tasks/places.js';

/** A session as the places see it; its jobs end when they are told. */
class Session implements Contender {
  waiting = 0;
  readonly running: object[] = [];
  /** Starts of others since it wanted a place that it could have had. */
  passedOver = new Map<Session, number>();

  constructor(
    readonly tenant: string,
    readonly concurrency: number,
    readonly places: Places,
    readonly onStart: (session: Session) => void = () => {},
  ) {}

  get wantsPlace(): boolean {
    return this.waiting > 0 && this.running.length < this.concurrency;
  }

  submit(): void {
    this.waiting += 1;
    if (this.wantsPlace) this.places.want(this);
  }

  startNext(): void {
    const job = {};
    this.waiting -= 1;
    this.running.push(job);
    this.places.enter(job, this.tenant);
    this.onStart(this);
  }

  endOne(): void {
    const job = this.running.shift();
    if (!job) return;
    if (this.wantsPlace) this.places.want(this);
    this.places.leave(job, this.tenant);
  }
}

t.test('sessions take turns: a long queue keeps nobody waiting for all of it', async (t) => {
  const places = new Places({ total: 1, perTenant: 1 });
  const starts: string[] = [];
  const [a, b, c] = ['a', 'b', 'c'].map((name) => new Session('t', 1, places, () => starts.push(name))) as [
    Session,
    Session,
    Session,
  ];
  for (let n = 0; n < 4; n += 1) a.submit();
  for (let n = 0; n < 2; n += 1) b.submit();
  c.submit();
  for (let n = 0; n < 7; n += 1) for (const each of [a, b, c]) if (each.running.length > 0) each.endOne();
  t.same(starts.join(''), 'abcabaa');
});

t.test('a tenant at its bound waits, and others go past it', async (t) => {
  const places = new Places({ total: 3, perTenant: 2 });
  const greedy = new Session('greedy', 10, places);
  const other = new Session('other', 10, places);
  for (let n = 0; n < 5; n += 1) greedy.submit();
  t.equal(greedy.running.length, 2);
  other.submit();
  t.equal(other.running.length, 1);
  greedy.endOne();
  t.equal(greedy.running.length, 2, 'the next of its own takes the place');
});

t.test('a session that has nothing to start any more loses its turn, not the place', async (t) => {
  const places = new Places({ total: 1, perTenant: 1 });
  const [first, gone, last] = [1, 2, 3].map(() => new Session('t', 1, places)) as [Session, Session, Session];
  first.submit();
  gone.submit();
  last.submit();
  gone.waiting = 0;
  first.endOne();
  t.equal(last.running.length, 1);
});

t.test('the estimate counts the turns of the others', async (t) => {
  let now = 0;
  const places = new Places({ total: 1, perTenant: 1, now: () => now });
  const [a, b] = [2, 1].map((concurrency) => new Session('t', concurrency, places)) as [Session, Session];
  t.equal(places.waitMs(b, 1), 0, 'a place is free');
  a.submit();
  t.equal(places.waitMs(b, 1), undefined, 'nothing has ended yet');
  now = 100;
  a.endOne();
  for (let n = 0; n < 4; n += 1) a.submit();
  t.equal(places.waitMs(b, 1), 200, 'what runs, and one of the three that wait');
  t.equal(places.waitMs(b, 2), 400, 'each takes a turn before the next');
  t.equal(places.nextEndMs(), 100);
  t.equal(places.nextEndMs('t'), 100);
});

t.test('whatever happens: bounds hold, no place stays empty, and nobody is passed over twice', async () => {
  const sessions = fc.array(
    fc.record({ tenant: fc.constantFrom('a', 'b', 'c'), concurrency: fc.integer({ min: 1, max: 3 }) }),
    { minLength: 2, maxLength: 8 },
  );
  const steps = fc.array(fc.record({ who: fc.nat(7), what: fc.constantFrom('submit', 'submit', 'end') }), {
    maxLength: 200,
  });
  const bounds = fc.record({
    total: fc.integer({ min: 1, max: 6 }),
    perTenant: fc.integer({ min: 1, max: 6 }),
  });
  fc.assert(
    fc.property(bounds, sessions, steps, (bounds, specs, steps) => {
      const places = new Places(bounds);
      const tenantIsFull = (tenant: string) => places.runningOf(tenant) >= bounds.perTenant;
      const all: Session[] = [];
      const onStart = (starter: Session) => {
        for (const each of all) {
          if (each === starter || !each.wantsPlace || tenantIsFull(each.tenant)) continue;
          const times = (each.passedOver.get(starter) ?? 0) + 1;
          if (times > 1) throw new Error('passed over twice by the same session');
          each.passedOver.set(starter, times);
        }
        starter.passedOver.clear();
      };
      for (const { tenant, concurrency } of specs)
        all.push(new Session(tenant, concurrency, places, onStart));
      for (const { who, what } of steps) {
        const session = all[who % all.length]!;
        if (what === 'submit') session.submit();
        else session.endOne();
        const running = all.reduce((sum, each) => sum + each.running.length, 0);
        if (running !== places.running || running > bounds.total) throw new Error('too many run');
        for (const each of all) {
          if (places.runningOf(each.tenant) > bounds.perTenant) throw new Error('a tenant has too many');
          if (each.wantsPlace && running < bounds.total && !tenantIsFull(each.tenant)) {
            throw new Error('a place is empty while somebody wants it');
          }
        }
      }
    }),
    { numRuns: 20000 },
  );
});

import { pino } from 'pino';
import t, { type Test } from 'tap';
import { EgressDecisions, type SingleDecision } from '../../src/sandbox/egress-decisions.js';
import type { EgressDecision } from '../../src/sandbox/sandbox.js';
import { until } from '../helpers/world.js';

function start(_t: Test, windowMs: number) {
  const told: EgressDecision[] = [];
  const decisions = new EgressDecisions({
    log: pino({ level: 'silent' }),
    onDecision: (decision) => told.push(decision),
    windowMs,
  });
  return { told, decisions };
}

const refused = (host: string, port = 443): SingleDecision => ({
  allowed: false,
  host,
  port,
  reason: 'not in the allowlist',
});

t.test('the first of a kind is told at once, its repeats together', async (t) => {
  const { told, decisions } = start(t, 60_000);
  for (let round = 0; round < 1000; round += 1) decisions.tell(refused('a.example'));
  decisions.tell(refused('a.example', 80));
  t.same(told, [
    { ...refused('a.example'), count: 1 },
    { ...refused('a.example', 80), count: 1 },
  ]);
  decisions.flush();
  t.same(told.slice(2), [{ ...refused('a.example'), count: 999 }]);
  decisions.flush();
  t.equal(told.length, 3, 'nothing is told twice');
});

t.test('a sweep over many destinations is a few events, and none is forgotten', async (t) => {
  const { told, decisions } = start(t, 60_000);
  for (let port = 1; port <= 65_535; port += 1) decisions.tell(refused('a.example', port));
  for (let n = 0; n < 10; n += 1) decisions.tell({ ...refused(`${n}.example`), allowed: true });
  decisions.flush();
  t.ok(told.length <= 17, `${told.length} events`);
  const sum = (allowed: boolean) =>
    told.filter((each) => each.allowed === allowed).reduce((total, { count }) => total + count, 0);
  t.same([sum(false), sum(true)], [65_535, 10]);
  t.match(told.at(-1), { host: null, port: null, reason: /more destinations/ });
});

t.test('what is counted is told without being asked', async (t) => {
  const { told, decisions } = start(t, 5);
  decisions.tell(refused('a.example'));
  decisions.tell(refused('a.example'));
  // The timer keeps no process alive; the wait does.
  await until(async () => told.length === 2);
  t.same(told[1], { ...refused('a.example'), count: 1 });
});

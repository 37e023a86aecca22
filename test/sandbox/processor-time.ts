import { spawn } from 'node:child_process';
import t from 'tap';
import { type ProcessorReading, ProcessorTime, readProcessor } from '../../src/sandbox/processor-time.js';
import { until } from '../helpers/event-client.js';

/** Readings that are given one after the other, a second apart. */
function looks(...readings: (ProcessorReading | undefined)[]) {
  const left = [...readings];
  let second = 0;
  const time = new ProcessorTime(
    () => left.shift(),
    () => {
      second += 1_000;
      return second;
    },
  );
  return readings.slice(1).map(() => time.couldAnswer());
}

const at = (state: string, ranMs: number, waitedMs: number) => ({
  ...{ state, ranNs: ranMs * 1e6, waitedNs: waitedMs * 1e6 },
});

t.test('who waits for a processor all the time could not answer, and who sleeps or runs could', async (t) => {
  t.same(looks(at('R', 5, 0), at('R', 5, 0)), [false], 'it waits, and its account is not written yet');
  t.same(looks(at('S', 5, 0), at('S', 7, 900)), [false], 'it waited most of the second');
  t.same(looks(at('S', 5, 0), at('S', 5, 0)), [true], 'it sleeps');
  t.same(looks(at('R', 5, 0), at('R', 900, 100)), [true], 'it is busy with something else');
  t.same(looks(at('S', 5, 0), at('S', 7, 400), at('R', 7, 400)), [true, false]);
});

t.test('where the kernel says nothing, nobody is excused', async (t) => {
  t.same(looks(undefined, undefined, at('R', 1, 1), undefined), [true, true, true]);
  t.equal(readProcessor(2 ** 31 - 2), undefined);
});

t.test(
  'the kernel’s account of a process that spins grows, and that of one that sleeps does not',
  async (t) => {
    const sleeping = spawn('/bin/sleep', ['60'], { stdio: 'ignore' });
    const spinning = spawn('/bin/sh', ['-c', 'while :; do :; done'], { stdio: 'ignore' });
    t.teardown(() => [sleeping, spinning].map((child) => child.kill('SIGKILL')));
    const before = readProcessor(spinning.pid!)!;
    await until(() => readProcessor(spinning.pid!)!.ranNs > before.ranNs);
    await until(() => readProcessor(sleeping.pid!)!.state === 'S');
    const [first, second] = [readProcessor(sleeping.pid!)!, readProcessor(sleeping.pid!)!];
    t.equal(first.ranNs, second.ranNs);
  },
);

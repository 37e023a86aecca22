import t from 'tap';
import { endingMessage, FirstEnding } from '../../src/tasks/ending.js';
import { ENDING_CAUSES, statusOf } from '../../src/tasks/schema.js';

t.test('the first cause wins and aborts the signal; later ones are ignored', async (t) => {
  const ending = new FirstEnding();
  t.equal(ending.signal.aborted, false);
  t.equal(ending.first, undefined);
  t.equal(ending.record({ cause: 'timedOut' }), true);
  t.equal(ending.record({ cause: 'cancelled' }), false);
  t.equal(ending.record({ cause: 'exited', exitCode: 0 }), false);
  t.same(ending.first, { cause: 'timedOut' });
  t.equal(ending.signal.aborted, true);
  t.ok(ending.sinceDecidedMs >= 0);
});

t.test('a signal that is first asked for after the end has aborted', async (t) => {
  const ending = new FirstEnding();
  ending.record({ cause: 'cancelled' });
  t.equal(ending.signal.aborted, true);
});

t.test('every cause has words, and its own words win', async (t) => {
  const limits = { timeoutMs: 1000, memoryMb: 64, diskMb: 10, maxOutputBytes: 5 };
  for (const cause of ENDING_CAUSES) {
    t.match(endingMessage({ cause, exitCode: 3 }, limits), /^[A-Z].+\.$/, cause);
  }
  t.equal(endingMessage({ cause: 'toolError', message: 'No such file.' }, limits), 'No such file.');
  t.match(endingMessage({ cause: 'timedOut' }, limits), '1000 ms');
  t.match(endingMessage({ cause: 'outOfMemory' }, limits), '64 MiB');
});

t.test('what was left behind is said, with the next step', async (t) => {
  const message = (processesKilled: number) =>
    endingMessage({ cause: 'exited', exitCode: 0, processesKilled });
  t.equal(message(0), 'The process exited with code 0.');
  t.match(message(1), /^The process exited with code 0\. 1 process was .*"background": true/);
  t.match(message(3), /3 processes were .*"background": true/);
});

t.test('each cause leads to the status that the API promises', async (t) => {
  const expected = {
    finished: 'success',
    signaled: 'failure',
    outOfMemory: 'failure',
    outputLimit: 'failure',
    diskLimit: 'failure',
    toolError: 'failure',
    spawnFailed: 'failure',
    sandboxDied: 'failure',
    startTimedOut: 'failure',
    interrupted: 'failure',
    timedOut: 'timeout',
    cancelled: 'cancelled',
    sessionEnded: 'cancelled',
  } as const;
  for (const cause of ENDING_CAUSES) {
    if (cause !== 'exited') t.equal(statusOf({ cause }), expected[cause], cause);
  }
  t.equal(statusOf({ cause: 'exited', exitCode: 0 }), 'success');
  t.equal(statusOf({ cause: 'exited', exitCode: 1 }), 'failure');
});

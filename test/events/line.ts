import t from 'tap';
import { Batch, toLine } from '../../src/events/line.js';

const output = (bytes: Uint8Array) =>
  toLine('my-session', {
    seq: 7,
    time: 1_795_000_000_123,
    taskId: 'my-task',
    type: 'task.output',
    data: `{"stream":"stdout","offset":3,"length":${bytes.byteLength}}`,
    bytes,
  });

t.test('a line is the whole event as JSON', async (t) => {
  t.same(JSON.parse(output(Buffer.from('a "quoted"\n\u2028 ü')).json), {
    seq: 7,
    time: '2026-11-18T11:06:40.123Z',
    sessionId: 'my-session',
    taskId: 'my-task',
    type: 'task.output',
    data: { stream: 'stdout', offset: 3, length: 17, text: 'a "quoted"\n\u2028 ü' },
  });
  t.same(
    JSON.parse(
      toLine('s', { seq: 1, time: 0, taskId: null, type: 'session.state', data: '{"to":"ready"}' }).json,
    ),
    {
      seq: 1,
      time: '1970-01-01T00:00:00.000Z',
      sessionId: 's',
      type: 'session.state',
      data: { to: 'ready' },
    },
  );
});

t.test('bytes that are no UTF-8 are shown as U+FFFD', async (t) => {
  t.equal(JSON.parse(output(Buffer.from([0x61, 0xff, 0xfe, 0x62])).json).data.text, 'a\ufffd\ufffdb');
  t.equal(JSON.parse(output(Buffer.from([0xe2, 0x82])).json).data.text, '\ufffd');
});

t.test('a view into a larger buffer shows only its own bytes', async (t) => {
  t.equal(JSON.parse(output(Buffer.from('secret:text:secret').subarray(7, 11)).json).data.text, 'text');
});

t.test('the last event of a task and of a session is known by its line', async (t) => {
  const ends = (type: 'task.ended' | 'session.state', data: string) =>
    toLine('s', { seq: 1, time: 0, taskId: null, type, data }).ends;
  t.equal(ends('task.ended', '{}'), 'task');
  t.equal(ends('session.state', '{"to":"terminated"}'), 'session');
  t.equal(ends('session.state', '{"to":"terminating"}'), undefined);
});

t.test('a part of a batch is what was asked for, and the batch itself when that is all', async (t) => {
  const line = (seq: number, taskId: string) =>
    toLine('s', { seq, time: 0, taskId, type: 'task.started', data: '{}' });
  const batch = new Batch([line(4, 'a'), line(5, 'b'), line(6, 'a')]);
  const seqs = (part: Batch) => part.lines.map(({ seq }) => seq);
  t.same(seqs(batch.part({ after: 4, taskId: undefined, limit: 10 })), [5, 6]);
  t.same(seqs(batch.part({ after: 0, taskId: 'a', limit: 10 })), [4, 6]);
  t.same(seqs(batch.part({ after: 0, taskId: undefined, limit: 2 })), [4, 5]);
  t.equal(batch.part({ after: 3, taskId: undefined, limit: 3 }), batch);
  t.same(
    batch.events.map(({ seq }) => seq),
    [4, 5, 6],
  );
});

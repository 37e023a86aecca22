import t from 'tap';
import {
  ENDED_BYTES,
  endedOutputs,
  SHOWN_STREAM_BYTES,
  shownRanges,
  shownText,
} from '../../src/tasks/outputs.js';

const streams = (stdout: string, stderr = '', stdoutBytes = Buffer.byteLength(stdout)) => ({
  bytes: { stdout: stdoutBytes, stderr: Buffer.byteLength(stderr) },
  tail: (stream: 'stdout' | 'stderr') =>
    stream === 'stdout'
      ? { text: stdout, truncated: stdoutBytes > Buffer.byteLength(stdout) }
      : { text: stderr, truncated: false },
});

t.test('small outputs are carried whole', async (t) => {
  t.same(endedOutputs({ message: 'hi' }, undefined), { outputs: { message: 'hi' }, outputsTruncated: false });
  t.same(endedOutputs({ exitCode: 0 }, streams('4\n')), {
    outputs: {
      exitCode: 0,
      ...{ stdout: '4\n', stdoutBytes: 2, stdoutTruncated: false },
      ...{ stderr: '', stderrBytes: 0, stderrTruncated: false },
    },
    outputsTruncated: false,
  });
});

t.test('outputs that are too large are left out, and that is said', async (t) => {
  t.same(endedOutputs({ contents: 'x'.repeat(ENDED_BYTES) }, undefined), { outputsTruncated: true });
});

t.test('a stream that is longer than its tail is said to be cut', async (t) => {
  t.match(endedOutputs({ exitCode: 0 }, streams(' and more', '', 5000)), {
    outputs: { stdout: ' and more', stdoutBytes: 5000 },
    outputsTruncated: true,
  });
});

t.test('a stream is shown whole up to the limit, then as head and tail', async (t) => {
  t.same(shownRanges(0), [{ start: 0, end: 0 }]);
  t.same(shownRanges(SHOWN_STREAM_BYTES), [{ start: 0, end: SHOWN_STREAM_BYTES }]);
  const total = SHOWN_STREAM_BYTES + 10;
  t.same(shownRanges(total), [
    { start: 0, end: SHOWN_STREAM_BYTES / 2 },
    { start: total - SHOWN_STREAM_BYTES / 2, end: total },
  ]);
});

t.test(
  'the line between head and tail says how much is missing, and no character is cut in half',
  async (t) => {
    const head = Buffer.from('abc€').subarray(0, 5);
    const tail = Buffer.from('€xyz').subarray(2);
    const text = shownText([head, tail], 100, '/v1/tasks/x/output/stdout');
    t.equal(text, 'abc\n… 91 bytes left out; the exact bytes are at /v1/tasks/x/output/stdout …\nxyz');
    t.equal(shownText([Buffer.from('whole')], 5, ''), 'whole');
    t.equal(shownText([], 0, ''), '');
  },
);

import fc from 'fast-check';
import t from 'tap';
import {
  FrameParser,
  frameHeader,
  HEADER_BYTES,
  MAX_FRAME_BYTES,
  MAX_PAYLOAD_BYTES,
} from '../../src/sandbox/protocol.js';

interface Frame {
  readonly type: string;
  readonly id: number;
  readonly payload: Buffer;
}

const encode = ({ type, id, payload }: Frame) =>
  Buffer.concat([frameHeader(type, id, payload.length), payload]);

/** Frames with what was passed on put together again. */
function parse(chunks: readonly Buffer[], passedOn: string[] = []): Frame[] {
  const frames: Frame[] = [];
  const parser = new FrameParser((type, id, payload) => frames.push({ type, id, payload }), passedOn);
  for (const chunk of chunks) parser.push(chunk);
  return frames;
}

const frame = fc.record({
  type: fc.constantFrom('O', 'E', 'X', 'H'),
  id: fc.integer({ min: 0, max: 0xffffffff }),
  payload: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
});

function cut(bytes: Buffer, sizes: readonly number[]): Buffer[] {
  const pieces: Buffer[] = [];
  let at = 0;
  for (let turn = 0; at < bytes.length; turn += 1) {
    const size = sizes[turn % sizes.length]!;
    pieces.push(bytes.subarray(at, at + size));
    at += size;
  }
  return pieces;
}

t.test('frames come out as they went in, wherever the stream is cut', async () => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 400 }), { minLength: 1 }),
      (frames, sizes) => {
        const seen = parse(cut(Buffer.concat(frames.map(encode)), sizes));
        return JSON.stringify(seen) === JSON.stringify(frames);
      },
    ),
  );
});

t.test('output is passed on piece by piece, in order and without being copied', async (t) => {
  const chunk = encode({ type: 'O', id: 7, payload: Buffer.from('hello') });
  const seen = parse([chunk.subarray(0, 11), chunk.subarray(11)], ['O']);
  t.same(
    seen.map(({ payload }) => payload.toString()),
    ['he', 'llo'],
  );
  t.equal(seen[0]!.payload.buffer, chunk.buffer);
  t.equal(parse([encode({ type: 'O', id: 7, payload: Buffer.alloc(0) })], ['O']).length, 0);
});

t.test('a frame that says it is longer than a frame may be is refused before it is taken in', async (t) => {
  for (const length of [MAX_FRAME_BYTES + 1, 0xffffffff, 4, 0]) {
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(length, 0);
    t.throws(() => parse([header]), { message: `a frame says it is ${length} bytes long` });
  }
});

t.test('the longest frame passes, and one longer is never written', async (t) => {
  const payload = Buffer.alloc(MAX_PAYLOAD_BYTES, 'x');
  t.equal(parse([encode({ type: 'X', id: 1, payload })])[0]?.payload.length, MAX_PAYLOAD_BYTES);
  t.throws(() => frameHeader('X', 1, MAX_PAYLOAD_BYTES + 1), { message: /is too long/ });
});

// Frames between the service and an agent, both ways: u32 length of what follows | u8 type | u32 id | payload. The
// agent is taken for hostile: a frame has a greatest size, and nothing is kept of it that it has not sent.

export const HEADER_BYTES = 9;
export const MAX_FRAME_BYTES = 1024 * 1024;
export const MAX_PAYLOAD_BYTES = MAX_FRAME_BYTES - HEADER_BYTES;

/** What the service says. Ids are those of programs, except where noted; of `helper…` frames those of helpers, counted from
 *  1 and never used twice. */
export const TO_AGENT = {
  /** A piece of a program's request; `runLast` is its last one and starts it. */
  run: 'r',
  runLast: 'R',
  stdin: 'I',
  stdinEnd: 'E',
  terminate: 'T',
  kill: 'K',
  /** Have a process waiting for the next program now. */
  want: 'W',
  ping: 'P',
  helper: 'F',
  helperKill: 'f',
  /** Id 1: carry connections to the egress socket; 0: stop. */
  bridge: 'B',
} as const;

/** What the agent says. */
export const FROM_AGENT = {
  hello: 'H',
  /** A process waits, confined, for the program that gets this id. */
  waiting: 'N',
  /** That process could not be made, or is gone before it was used. */
  notWaiting: 'n',
  stdout: 'O',
  stderr: 'E',
  /** u32: bytes of stdin that were written. */
  stdinTaken: 'i',
  stdinGone: 'g',
  exited: 'X',
  pong: 'G',
  helper: 'F',
  helperTaken: 'h',
  helperEnded: 'f',
  bridge: 'b',
} as const;

export class ProtocolError extends Error {}

/** One frame, header and payload apart, ready to be written. */
export function frameHeader(type: string, id: number, payloadBytes: number): Buffer {
  if (payloadBytes > MAX_PAYLOAD_BYTES) throw new RangeError(`a frame of ${payloadBytes} bytes is too long`);
  const header = Buffer.allocUnsafe(HEADER_BYTES);
  header.writeUInt32BE(payloadBytes + HEADER_BYTES - 4, 0);
  header.write(type, 4, 'latin1');
  header.writeUInt32BE(id, 5);
  return header;
}

export type FrameHandler = (type: string, id: number, payload: Buffer) => void;

/**
 * Takes frames out of what arrives. Payloads of `passedOn` types are handed on piece by piece as they come, without
 * being copied or put together; all others come whole.
 */
export class FrameParser {
  readonly #handle: FrameHandler;
  readonly #passedOn: ReadonlySet<string>;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  #type = '';
  #id = 0;
  /** Payload still to come of the frame whose header is complete. */
  #missing = 0;
  #pieces: Buffer[] = [];

  constructor(handle: FrameHandler, passedOn: Iterable<string> = []) {
    this.#handle = handle;
    this.#passedOn = new Set(passedOn);
  }

  /** Throws ProtocolError for what is no frame; nothing may be pushed after that. */
  push(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#headerBytes < HEADER_BYTES) {
        at += this.#takeHeader(chunk, at);
        if (this.#headerBytes < HEADER_BYTES) return;
        this.#readHeader();
        if (this.#missing === 0) this.#finish();
      } else {
        const piece = chunk.subarray(at, at + this.#missing);
        at += piece.length;
        this.#missing -= piece.length;
        if (this.#passedOn.has(this.#type)) this.#handle(this.#type, this.#id, piece);
        else this.#pieces.push(piece);
        if (this.#missing === 0) this.#finish();
      }
    }
  }

  #takeHeader(chunk: Buffer, at: number): number {
    const copied = chunk.copy(this.#header, this.#headerBytes, at, at + HEADER_BYTES - this.#headerBytes);
    this.#headerBytes += copied;
    return copied;
  }

  #readHeader(): void {
    const length = this.#header.readUInt32BE(0);
    if (length < HEADER_BYTES - 4 || length > MAX_FRAME_BYTES) {
      throw new ProtocolError(`a frame says it is ${length} bytes long`);
    }
    this.#missing = length - (HEADER_BYTES - 4);
    this.#type = String.fromCharCode(this.#header[4]!);
    this.#id = this.#header.readUInt32BE(5);
  }

  #finish(): void {
    this.#headerBytes = 0;
    if (this.#passedOn.has(this.#type)) return;
    const pieces = this.#pieces;
    this.#pieces = [];
    this.#handle(this.#type, this.#id, pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces));
  }
}

/** Tells the window how much more the other side has taken. Throws ProtocolError for more than it was sent. */
export function confirmed(window: { confirm(count: number): boolean } | undefined, payload: Buffer): void {
  if (payload.length !== 4) throw new ProtocolError('a confirmation is not a number');
  if (window && !window.confirm(payload.readUInt32BE(0))) {
    throw new ProtocolError('more was confirmed than was sent');
  }
}

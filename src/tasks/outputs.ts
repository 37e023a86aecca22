// Outputs as they are shown: whole in the task, short in `task.ended`. stdout and stderr were stored as they came and
// are read from there; what is left out is said.
import type { OutputStream } from '../events/schema.js';

/** stdout and stderr of a task that is read over HTTP are shown up to this many bytes each, half head and half tail. */
export const SHOWN_STREAM_BYTES = 1024 * 1024;
/** `task.ended` carries outputs, and the tails of stdout and stderr, up to this many bytes each. */
export const ENDED_BYTES = 8 * 1024;

type Outputs = Record<string, unknown>;

interface Streams {
  readonly bytes: Readonly<Record<OutputStream, number>>;
  /** The last bytes of each stream, at most ENDED_BYTES. */
  readonly tails: Readonly<Record<OutputStream, Buffer>>;
}

/** What `task.ended` carries of the outputs. */
export function endedOutputs(
  outputs: Outputs,
  streams: Streams | undefined,
): { outputs?: Outputs; outputsTruncated: boolean } {
  const fits = Buffer.byteLength(JSON.stringify(outputs)) <= ENDED_BYTES;
  const own = fits ? outputs : {};
  if (!streams) return fits ? { outputs: own, outputsTruncated: false } : { outputsTruncated: true };
  const cut = (stream: OutputStream) => streams.tails[stream].length < streams.bytes[stream];
  return {
    outputs: {
      ...own,
      stdout: tailText(streams.tails.stdout, cut('stdout')),
      stderr: tailText(streams.tails.stderr, cut('stderr')),
      stdoutBytes: streams.bytes.stdout,
      stderrBytes: streams.bytes.stderr,
    },
    outputsTruncated: !fits || cut('stdout') || cut('stderr'),
  };
}

/** Which bytes of a stream a task shows: all of them, or a head and a tail. */
export function shownRanges(totalBytes: number): { start: number; end: number }[] {
  if (totalBytes <= SHOWN_STREAM_BYTES) return [{ start: 0, end: totalBytes }];
  const half = SHOWN_STREAM_BYTES / 2;
  return [
    { start: 0, end: half },
    { start: totalBytes - half, end: totalBytes },
  ];
}

/** The text of the shown ranges of a stream, with a line between head and tail that says what was left out. */
export function shownText(ranges: readonly Buffer[], totalBytes: number, where: string): string {
  const [head, tail] = ranges;
  if (!head) return '';
  if (!tail) return head.toString('utf8');
  const leftOut = totalBytes - head.length - tail.length;
  return `${headText(head)}\n… ${leftOut} bytes left out; the exact bytes are at ${where} …\n${tailText(tail, true)}`;
}

/** Text that may end inside a character: the unfinished one is left out. */
function headText(bytes: Buffer): string {
  let end = bytes.length;
  for (let back = 1; back <= Math.min(3, bytes.length); back += 1) {
    const byte = bytes[bytes.length - back]!;
    if ((byte & 0xc0) === 0x80) continue;
    const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    if (length > back) end = bytes.length - back;
    break;
  }
  return bytes.toString('utf8', 0, end);
}

/** Text that may begin inside a character: its rest is left out. */
function tailText(bytes: Buffer, cut: boolean): string {
  let start = 0;
  if (cut) while (start < Math.min(3, bytes.length) && (bytes[start]! & 0xc0) === 0x80) start += 1;
  return bytes.toString('utf8', start);
}

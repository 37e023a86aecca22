// Outputs as they are shown: whole in the task, short in `task.ended`. stdout and stderr were stored as they came and
// are read from there; what is left out is said.
import type { OutputWriter } from '../events/output.js';
import { incompleteTail, orphanedHead } from '../events/utf8.js';

/** stdout and stderr of a task that is read over HTTP are shown up to this many bytes each, half head and half tail. */
export const SHOWN_STREAM_BYTES = 1024 * 1024;
/** `task.ended` carries outputs up to this many bytes, and as much of the end of stdout and of stderr. */
export const ENDED_BYTES = 8 * 1024;

type Outputs = Record<string, unknown>;

type Streams = Pick<OutputWriter, 'bytes' | 'tail'>;

/** What `task.ended` carries of the outputs: what the tool's schema asks for, or nothing. */
export function endedOutputs(
  outputs: Outputs | undefined,
  streams: Streams | undefined,
): { outputs?: Outputs; outputsTruncated: boolean } {
  if (outputs === undefined) return { outputsTruncated: false };
  if (Buffer.byteLength(JSON.stringify(outputs)) > ENDED_BYTES) return { outputsTruncated: true };
  if (!streams) return { outputs, outputsTruncated: false };
  const stdout = streams.tail('stdout');
  const stderr = streams.tail('stderr');
  return {
    outputs: {
      ...outputs,
      stdout: stdout.text,
      stderr: stderr.text,
      stdoutBytes: streams.bytes.stdout,
      stderrBytes: streams.bytes.stderr,
      stdoutTruncated: stdout.truncated,
      stderrTruncated: stderr.truncated,
    },
    outputsTruncated: stdout.truncated || stderr.truncated,
  };
}

/** The outputs that a task shows when its tool gave these, which are none (`{}`) when it did not come to its end: those of
 *  an unfinished program, or no outputs at all. Either way they satisfy the tool's schema. */
export function ownOutputs(
  given: Outputs,
  tool: { readonly unfinishedOutputs?: Outputs } | undefined,
): Outputs | undefined {
  const outputs = { ...tool?.unfinishedOutputs, ...given };
  return Object.keys(outputs).length > 0 ? outputs : undefined;
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
  return `${head.toString('utf8', 0, head.length - incompleteTail(head))}\n… ${leftOut} bytes left out; the exact bytes are at ${where} …\n${tail.toString('utf8', orphanedHead(tail))}`;
}

/** The end of a stream whose beginning retention has removed. */
export function shownRest(rest: Buffer, removedBytes: number, totalBytes: number): string {
  const leftOut = totalBytes - removedBytes - rest.length;
  const more = leftOut > 0 ? `, ${leftOut} more are left out` : '';
  return `… the first ${removedBytes} bytes were removed by retention${more} …\n${rest.toString('utf8', orphanedHead(rest))}`;
}

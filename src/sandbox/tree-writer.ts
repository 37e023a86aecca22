// Fills and empties workspaces with `python/tree.py`, in a sandbox of its own.
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { refusal } from './file-words.js';
import type { OneShot, OneShotProgram, SpawnOneShot } from './oneshot.js';
import { FileError } from './sandbox.js';
import type { TreeEntry } from './tree.js';
import { encodeHead } from './tree-frames.js';

/** Small entries are joined to writes of about this size. */
const BATCH_BYTES = 131_072;

/** Replaces what is in the workspace by these entries; those that were skipped stay out. Throws FileError. */
export async function writeTree(
  spawn: SpawnOneShot,
  entries: AsyncIterable<TreeEntry>,
  signal: AbortSignal,
): Promise<void> {
  await runTreeProgram(spawn, 'write', signal, (writer) => sendEntries(writer.stdin, entries));
}

/** Empties the workspace, whatever permissions are set in it. Throws FileError. */
export async function removeTree(spawn: SpawnOneShot, signal: AbortSignal): Promise<void> {
  await runTreeProgram(spawn, 'remove', signal, async (remover) => {
    remover.stdin.end();
  });
}

async function runTreeProgram(
  spawn: SpawnOneShot,
  mode: 'write' | 'remove',
  signal: AbortSignal,
  feed: (program: OneShot) => Promise<void>,
): Promise<void> {
  signal.throwIfAborted();
  const request: OneShotProgram = {
    ...{ script: 'tree.py', args: [mode], workspace: 'write', overrideOwner: true },
  };
  const program = await spawn(request);
  const stop = () => program.kill();
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  // A program that gives up reads no further; its answer says why.
  program.stdin.on('error', () => {});
  const answer = collect(program);
  try {
    await feed(program);
    const { code, stderr } = await program.ended;
    signal.throwIfAborted();
    const facts = parseAnswer(await answer);
    if (!facts) throw new FileError('FILE_ERROR', `the workspace could not be changed: ${stderr || code}`);
    if (facts.code !== undefined) throw refusal(String(facts.path ?? '.'), facts);
  } catch (error) {
    signal.throwIfAborted();
    throw error;
  } finally {
    signal.removeEventListener('abort', stop);
    program.kill();
    await program.ended;
  }
}

async function sendEntries(stdin: Writable, entries: AsyncIterable<TreeEntry>): Promise<void> {
  let batch: Buffer[] = [];
  let batchBytes = 0;
  const send = async (bytes: Buffer) => {
    batch.push(bytes);
    batchBytes += bytes.length;
    if (batchBytes >= BATCH_BYTES) await flush();
  };
  const flush = async () => {
    const bytes = Buffer.concat(batch, batchBytes);
    batch = [];
    batchBytes = 0;
    if (!stdin.write(bytes) && stdin.writable) await drained(stdin);
  };
  for await (const entry of entries) {
    if (!stdin.writable) return;
    const { path, mode, mtimeNs } = entry;
    if (entry.type === 'directory') {
      await send(encodeHead({ kind: 'd', path, mode, mtimeNs, size: 0 }));
    } else if (entry.type === 'symlink') {
      await send(encodeHead({ kind: 'l', path, mode, mtimeNs, size: entry.target.length }));
      await send(entry.target);
    } else if (entry.type === 'file') {
      await send(encodeHead({ kind: 'f', path, mode, mtimeNs, size: entry.sizeBytes }));
      let sent = 0;
      for await (const piece of entry.body) {
        sent += piece.length;
        if (sent > entry.sizeBytes) break;
        await send(piece);
      }
      if (sent !== entry.sizeBytes)
        throw new Error(`a body is not the ${entry.sizeBytes} bytes it should be`);
    }
  }
  await send(encodeHead({ kind: 'e', path: Buffer.alloc(0), mode: 0, mtimeNs: 0n, size: 0 }));
  await flush();
  stdin.end();
}

/** Also when the other end is gone. */
async function drained(stdin: Writable): Promise<void> {
  const done = new AbortController();
  const events = ['drain', 'close', 'error'].map((event) => once(stdin, event, { signal: done.signal }));
  await Promise.race(events).catch(() => {});
  done.abort();
  await Promise.allSettled(events);
}

/** What the program says at its end: one short line. */
async function collect(program: OneShot): Promise<string> {
  let text = '';
  try {
    for await (const chunk of program.stdout) if (text.length < 65_536) text += chunk;
  } catch {
    // Its end says more.
  }
  return text;
}

function parseAnswer(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

// Files of a workspace, touched by the confined helper inside the sandbox (`python/files.py`): code in there may swap
// any path at any time, so the service itself resolves none.
import { unlessAborted } from '../lib/unless-aborted.js';
import type { HelperChannel } from './agent.js';
import { refusal } from './file-words.js';
import { HelperConnection, HelperRefusal, nonsense, type Operation } from './helper-connection.js';
import { type FileEntry, FileError, type SandboxFiles } from './sandbox.js';

/** All names of one listing together; the helper cannot make us hold more. */
const MAX_LISTING_BYTES = 16 * 1024 * 1024;
const ENTRY_TYPES: readonly unknown[] = ['file', 'directory', 'symlink', 'other'];

export interface FilesHooks {
  /** Called before each operation. */
  readonly beforeEach?: () => void;
  /** Throws a FileError when nothing more may be written. */
  readonly beforeWriting?: (path: string) => void;
}

export class HelperFiles implements SandboxFiles {
  readonly #connect: () => Promise<HelperChannel>;
  readonly #hooks: FilesHooks;
  #connection: Promise<HelperConnection> | undefined;

  constructor(connect: () => Promise<HelperChannel>, hooks: FilesHooks = {}) {
    this.#connect = connect;
    this.#hooks = hooks;
  }

  async ready(signal: AbortSignal): Promise<void> {
    await unlessAborted(this.#connected(), signal);
  }

  async read(
    path: string,
    options: { offset?: number; length?: number; maxBytes: number },
    signal: AbortSignal,
  ): Promise<{ bytes: Buffer; sizeBytes: number }> {
    const pieces: Buffer[] = [];
    let received = 0;
    const result = await this.#perform(
      path,
      {
        request: { op: 'read', path, ...options },
        onPiece(_kind, piece) {
          received += piece.length;
          if (received > options.maxBytes) throw nonsense();
          pieces.push(piece);
        },
      },
      signal,
    );
    return { bytes: Buffer.concat(pieces), sizeBytes: count(result.sizeBytes) };
  }

  async write(
    path: string,
    bytes: Uint8Array,
    options: { createDirs: boolean; append: boolean; onProgress?: (bytes: number) => void },
    signal: AbortSignal,
  ): Promise<FileEntry> {
    this.#hooks.beforeWriting?.(path);
    const { createDirs, append, onProgress } = options;
    return fileEntry(
      await this.#perform(
        path,
        { request: { op: 'write', path, createDirs, append }, body: bytes, onWritten: onProgress },
        signal,
      ),
    );
  }

  async list(
    path: string,
    options: { recursive: boolean; pattern?: string; limit: number },
    signal: AbortSignal,
  ): Promise<{ entries: FileEntry[]; totalCount: number; unreadableCount: number }> {
    const entries: FileEntry[] = [];
    let received = 0;
    const result = await this.#perform(
      path,
      {
        request: { op: 'list', path, ...options },
        onPiece(_kind, piece) {
          received += piece.length;
          if (received > MAX_LISTING_BYTES) {
            throw new FileError(
              'FILE_TOO_LARGE',
              `The names below ${JSON.stringify(path)} take more than ${MAX_LISTING_BYTES} bytes; give a smaller limit, a pattern, or a directory further down.`,
            );
          }
          for (const entry of JSON.parse(piece.toString('utf8'))) entries.push(fileEntry(entry));
        },
      },
      signal,
    );
    return {
      entries,
      totalCount: count(result.totalCount),
      unreadableCount: count(result.unreadableCount),
    };
  }

  async stat(path: string, signal: AbortSignal): Promise<FileEntry> {
    return fileEntry(await this.#perform(path, { request: { op: 'stat', path } }, signal));
  }

  async mkdir(path: string, options: { parents: boolean }, signal: AbortSignal): Promise<FileEntry> {
    this.#hooks.beforeWriting?.(path);
    return fileEntry(await this.#perform(path, { request: { op: 'mkdir', path, ...options } }, signal));
  }

  async move(
    from: string,
    to: string,
    options: { overwrite: boolean },
    signal: AbortSignal,
  ): Promise<FileEntry> {
    const request = { op: 'move', path: from, to, ...options };
    return fileEntry(await this.#perform(from, { request }, signal));
  }

  async remove(path: string, options: { recursive: boolean }, signal: AbortSignal): Promise<FileEntry> {
    return fileEntry(await this.#perform(path, { request: { op: 'remove', path, ...options } }, signal));
  }

  async #perform(path: string, operation: Operation, signal: AbortSignal): Promise<Record<string, unknown>> {
    const connection = await unlessAborted(this.#connected(), signal);
    this.#hooks.beforeEach?.();
    try {
      return await connection.perform(operation, signal);
    } catch (error) {
      if (error instanceof HelperRefusal) {
        const { to } = operation.request;
        throw refusal(error.facts.about === 'to' && typeof to === 'string' ? to : path, error.facts);
      }
      throw error;
    }
  }

  /** One helper for all operations; a new one after it has ended. */
  async #connected(): Promise<HelperConnection> {
    const known = this.#connection;
    const current = await known?.catch(() => undefined);
    if (current && !current.isClosed) return current;
    if (!this.#connection || this.#connection === known) {
      this.#connection = this.#connect().then((channel) => new HelperConnection(channel));
    }
    return this.#connection;
  }
}

/** What the helper said about an entry, or an error: nothing it says is believed to have the right shape. */
function fileEntry(value: unknown): FileEntry {
  if (typeof value !== 'object' || value === null) throw nonsense();
  const { path, name, type, sizeBytes, mode, modifiedMs, target } = value as Record<string, unknown>;
  if (typeof path !== 'string' || typeof name !== 'string' || !ENTRY_TYPES.includes(type)) throw nonsense();
  if (target !== undefined && typeof target !== 'string') throw nonsense();
  const modified = new Date(typeof modifiedMs === 'number' ? modifiedMs : Number.NaN);
  if (Number.isNaN(modified.getTime())) throw nonsense();
  return {
    path,
    name,
    type: type as FileEntry['type'],
    sizeBytes: count(sizeBytes),
    mode: count(mode).toString(8).padStart(4, '0'),
    modifiedAt: modified.toISOString(),
    ...(target === undefined ? {} : { target }),
  };
}

function count(value: unknown): number {
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw nonsense();
  return value;
}

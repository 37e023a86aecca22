// Copies of a workspace: taken while the session is held still, whole or not there at all, and put into new sessions.

import { type FileHandle, open } from 'node:fs/promises';
import {
  CheckpointNotFound,
  OutOfDisk,
  PublicError,
  ShuttingDown,
  StoreUnavailable,
  ValidationFailed,
} from '../errors.js';
import type { Journal } from '../events/journal.js';
import { newId } from '../lib/ids.js';
import { lastingController } from '../lib/lasting-controller.js';
import type { Principal } from '../lib/principal.js';
import type { Logger } from '../observability/logger.js';
import { FileError, type Sandbox } from '../sandbox/sandbox.js';
import type { LiveSession } from '../sessions/live-session.js';
import type { Session } from '../sessions/schema.js';
import type { Sessions } from '../sessions/service.js';
import type { Listed } from '../store/page.js';
import type { CheckpointRow } from '../store/schema.js';
import { type PackedArchive, writeArchive } from './archive-file.js';
import { unpackTree } from './archive-read.js';
import { CheckpointDirectory } from './directory.js';
import { type Changes, changesBetween, type Manifest, readManifest, writeManifest } from './manifest.js';
import { type CheckpointDetails, checkpointRecord, detailsOf, settingsOf } from './record.js';
import type { CheckpointFilter, CheckpointRepository } from './repository.js';
import type { Checkpoint, RestoreCheckpoint } from './schema.js';
import { Survey } from './survey.js';
import { TarSurvey } from './tar-survey.js';

const MIB = 1024 * 1024;
/** Sparse files look larger than they are; a tree may look this many times larger than the session's disk limit. */
const APPARENT_SIZE_FACTOR = 4;
/** A download of many ranges is one use. */
const USE_NOTED_EVERY_MS = 3_600_000;

type Held = Pick<LiveSession, 'row' | 'limits'> & { readonly sandbox: Pick<Sandbox, 'packTree'> };
type Consistency = Checkpoint['consistency'];

export interface CheckpointsOptions {
  readonly repository: CheckpointRepository;
  readonly journal: Pick<Journal, 'append'>;
  readonly directory: string;
  /** Of one session; the oldest go first. */
  readonly kept: number;
  /** Throws DiskAlmostFull. */
  readonly requireDisk: () => void;
  readonly log: Logger;
  readonly sessions: Pick<Sessions, 'find' | 'findLive' | 'hold' | 'create'>;
  readonly now?: () => number;
}

export class Checkpoints {
  readonly #options: CheckpointsOptions;
  readonly #directory: CheckpointDirectory;
  readonly #now: () => number;
  readonly #closing = lastingController();

  constructor(options: CheckpointsOptions) {
    this.#options = options;
    this.#directory = new CheckpointDirectory(options.directory);
    this.#now = options.now ?? Date.now;
  }

  /** Settles what a crash left between an archive and its record. */
  async start(): Promise<void> {
    for (const id of await this.#directory.start()) {
      if (await this.#options.repository.exists(id)) await this.#directory.settle(id);
      else await this.#directory.remove(id);
    }
  }

  /** Ends what is being packed or unpacked; nothing of it stays. */
  close(): void {
    this.#closing.abort(new ShuttingDown());
  }

  async create(
    principal: Principal,
    sessionId: string,
    { name }: { name?: string } = {},
  ): Promise<Checkpoint> {
    const { sessions } = this.#options;
    const live = await sessions.findLive(principal, sessionId);
    return sessions.hold(live, (consistency) => this.#take(live, name ?? null, consistency));
  }

  /** Of a session that is ending: its tasks are over, and nothing will start again. */
  async takeAtEnd(live: LiveSession, name: string | null): Promise<Checkpoint> {
    const consistency = await live.sandbox.freeze();
    try {
      return await this.#take(live, name, consistency);
    } finally {
      await live.sandbox.thaw();
    }
  }

  async get(principal: Principal, checkpointId: string): Promise<Checkpoint> {
    return checkpointRecord(await this.#find(principal, checkpointId));
  }

  async list(filter: CheckpointFilter): Promise<Listed<Checkpoint>> {
    const { rows, next } = await this.#options.repository.list(filter);
    return { items: rows.map(checkpointRecord), next };
  }

  /** Throws SessionNotFound for a session that has neither checkpoints nor a record. */
  async listOf(sessionId: string, filter: CheckpointFilter): Promise<Listed<Checkpoint>> {
    const page = await this.list({ ...filter, sessionId });
    // A later page may be empty; of a session whose record is gone only the checkpoints are left.
    if (page.items.length === 0 && !filter.before) {
      await this.#options.sessions.find({ tenant: filter.tenant }, sessionId);
    }
    return page;
  }

  async remove(principal: Principal, checkpointId: string): Promise<void> {
    const { id } = await this.#find(principal, checkpointId);
    await this.removeById(id);
  }

  /** The archive, open: it can be read to its end even when the checkpoint is removed meanwhile. The caller closes it. */
  async openArchive(
    principal: Principal,
    checkpointId: string,
  ): Promise<{ checkpoint: Checkpoint; file: FileHandle }> {
    const row = await this.#find(principal, checkpointId);
    const file = await this.#openFile(row);
    await this.#used(row);
    return { checkpoint: checkpointRecord(row), file };
  }

  /** A new session with this workspace, and with the settings of the old one unless told otherwise. */
  async restore(
    principal: Principal,
    checkpointId: string,
    { mode: _, ...wanted }: RestoreCheckpoint,
  ): Promise<Session> {
    const row = await this.#find(principal, checkpointId);
    return this.#options.sessions.create(principal, {
      ...detailsOf(row).settings,
      ...wanted,
      checkpointId: row.id,
    });
  }

  /** Fills a fresh workspace. Throws CheckpointNotFound, also for a checkpoint of another tenant. */
  async restoreInto(
    principal: Principal,
    checkpointId: string,
    sandbox: Pick<Sandbox, 'writeTree'>,
  ): Promise<void> {
    const startedAt = performance.now();
    const row = await this.#find(principal, checkpointId);
    const { signal } = this.#closing;
    const file = await this.#openFile(row);
    await this.#used(row);
    try {
      const expected = {
        sha256: row.sha256,
        maxBytes: row.uncompressed_bytes,
        maxEntries: detailsOf(row).entryCount,
      };
      await sandbox.writeTree(unpackTree(file.createReadStream(), expected, signal), signal);
    } catch (error) {
      if (error instanceof FileError && error.code === 'DISK_FULL') throw tooSmall(row, error);
      throw error;
    } finally {
      await file.close();
    }
    this.#options.log.info(
      { checkpointId, durationMs: Math.round(performance.now() - startedAt) },
      'checkpoint restored',
    );
  }

  async #take(held: Held, name: string | null, consistency: Consistency): Promise<Checkpoint> {
    this.#options.requireDisk();
    const id = newId('ckp');
    const startedAt = performance.now();
    const row = await this.#make(id, held, name, consistency).catch(async (error: unknown) => {
      // Whether its record is stored nobody knows: the next start looks, and keeps or removes it.
      if (!isUnknown(error)) await this.#directory.remove(id);
      throw isDiskFull(error) ? new OutOfDisk(error) : error;
    });
    this.#options.log.info(
      {
        checkpointId: id,
        sessionId: row.session_id,
        sizeBytes: row.size_bytes,
        durationMs: Math.round(performance.now() - startedAt),
      },
      'checkpoint created',
    );
    await this.#tidyUp(row);
    return checkpointRecord(row);
  }

  /** Archive, manifest, record and event. */
  async #make(id: string, held: Held, name: string | null, consistency: Consistency): Promise<CheckpointRow> {
    const { journal, repository } = this.#options;
    const session = held.row;
    const createdAt = this.#now();
    const before = await this.#manifestBefore(held);
    await this.#directory.unsettle(id);
    const { survey, archive } = await this.#pack(id, held);
    const { manifest } = survey;
    if (manifest) await this.#directory.writeWhole(id, 'manifest', (file) => writeManifest(manifest, file));
    const details: CheckpointDetails = {
      installedPackages: survey.installedPackages,
      changes: before && manifest ? ({ ...changesBetween(before, manifest) } satisfies Changes) : null,
      consistency,
      skipped: survey.skipped,
      changedWhileReading: survey.changedWhileReading,
      entryCount: survey.entryCount,
      settings: settingsOf(session),
    };
    const { sizeBytes, sha256 } = archive;
    const row: CheckpointRow = {
      id,
      tenant: session.tenant,
      session: session.id,
      session_id: session.session_id,
      name,
      kind: 'full',
      created_at: createdAt,
      size_bytes: sizeBytes,
      uncompressed_bytes: survey.uncompressedBytes,
      file_count: survey.fileCount,
      sha256,
      details: JSON.stringify(details),
      last_used_at: createdAt,
    };
    const event = {
      type: 'checkpoint.created' as const,
      data: { checkpointId: id, name, sizeBytes, sha256 },
    };
    await journal
      .append({ id: session.id, sessionId: session.session_id }, [event], { before: repository.insert(row) })
      .catch((error: unknown) => this.#storedInSpiteOf(error, id));
    return row;
  }

  /** Where the store could not say whether it took the record, the next read tells. Throws when it is not there, or when
   *  that cannot be told either. */
  async #storedInSpiteOf(error: unknown, id: string): Promise<void> {
    if (!isUnknown(error)) throw error;
    const isStored = await this.#options.repository.exists(id).catch(() => undefined);
    if (isStored === undefined) throw error;
    if (!isStored) throw new StoreUnavailable(error.cause, 'notStarted');
  }

  /** The archive, on disk under its name. */
  async #pack(id: string, { sandbox, limits }: Held): Promise<{ survey: Survey; archive: PackedArchive }> {
    const { signal } = this.#closing;
    const survey = new Survey();
    const maxBytes = limits.diskMb * MIB * APPARENT_SIZE_FACTOR;
    async function* surveyed() {
      const tar = new TarSurvey(survey);
      for await (const chunk of sandbox.packTree(signal)) {
        const ofArchive = tar.push(chunk);
        if (survey.uncompressedBytes > maxBytes) throw tooLarge(maxBytes);
        yield ofArchive;
      }
      tar.end();
    }
    const archive = await this.#directory.writeWhole(
      id,
      'tar',
      (file) => writeArchive(surveyed(), file, signal),
      verifyEnd,
    );
    return { survey, archive };
  }

  /** Of the session's last checkpoint, or the one it was started from. */
  async #manifestBefore({ row }: Held): Promise<Manifest | null> {
    const [last] = await this.#options.repository.idsOf(row.id);
    const id = last ?? row.restored_from;
    if (!id) return null;
    try {
      const file = await this.#directory.open(id, 'manifest');
      try {
        return await readManifest(file.createReadStream());
      } finally {
        await file.close();
      }
    } catch (error) {
      // Removed, or of a tree with too many files: only a count is lost.
      this.#options.log.debug({ err: error, checkpointId: id }, 'manifest not read');
      return null;
    }
  }

  /** What was just stored stays stored, whatever becomes of this; the next start or the next checkpoint tries again. */
  async #tidyUp({ id, session }: CheckpointRow): Promise<void> {
    const { repository, kept, log } = this.#options;
    try {
      await this.#directory.settle(id);
      for (const old of (await repository.idsOf(session)).slice(kept)) await this.removeById(old);
    } catch (error) {
      log.warn({ err: error, checkpointId: id }, 'old checkpoints not removed');
    }
  }

  async #openFile({ id }: CheckpointRow): Promise<FileHandle> {
    try {
      return await this.#directory.open(id);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === 'ENOENT' ? archiveGone(id, error) : error;
    }
  }

  /** Whoever reads it gets it, whatever becomes of this. */
  async #used({ id, last_used_at: lastUsedAt }: CheckpointRow): Promise<void> {
    const now = this.#now();
    if (now - lastUsedAt < USE_NOTED_EVERY_MS) return;
    await this.#options.repository.use(id, now).catch((error: unknown) => {
      this.#options.log.warn({ err: error, checkpointId: id }, 'use of a checkpoint not noted');
    });
  }

  /** The files first: what a crash leaves between the two can be seen, and removed again. */
  async removeById(id: string): Promise<void> {
    await this.#directory.remove(id);
    await this.#options.repository.remove(id);
  }

  async #find(principal: Principal, checkpointId: string): Promise<CheckpointRow> {
    const row = await this.#options.repository.find(principal.tenant, checkpointId);
    if (!row) throw new CheckpointNotFound(checkpointId);
    return row;
  }
}

/** A disk that lies about its space does so at the end. */
async function verifyEnd(path: string, { sizeBytes, trailer }: PackedArchive): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    const end = Buffer.alloc(trailer.length);
    await file.read(end, 0, end.length, Math.max(0, size - end.length));
    if (size === sizeBytes && end.equals(trailer)) return;
    throw new Error(`the archive has ${size} bytes on disk, not the ${sizeBytes} written`);
  } finally {
    await file.close();
  }
}

function archiveGone(id: string, cause: unknown): PublicError {
  return new PublicError('CHECKPOINT_NOT_FOUND', `The archive of checkpoint "${id}" is gone.`, {
    suggestion: `Put ${id}.tar.gz back into the checkpoint directory, or delete the checkpoint.`,
    cause,
  });
}

function isDiskFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes((error as NodeJS.ErrnoException | null)?.code ?? '');
}

function tooLarge(maxBytes: number): PublicError {
  return new PublicError(
    'PAYLOAD_TOO_LARGE',
    `The files of the workspace have more than ${maxBytes} bytes together; a sparse file counts in full.`,
    {
      suggestion: 'Remove large or sparse files that need not be kept, then take the checkpoint again.',
    },
  );
}

function tooSmall(row: CheckpointRow, cause: FileError): ValidationFailed {
  const rule = `must leave room for the ${row.uncompressed_bytes} bytes of the checkpoint's files`;
  return Object.assign(new ValidationFailed([{ where: '/body/limits/diskMb', rule }]), { cause });
}

function isUnknown(error: unknown): error is StoreUnavailable {
  return error instanceof StoreUnavailable && error.outcome === 'unknown';
}

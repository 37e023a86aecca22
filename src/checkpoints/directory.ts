// The checkpoint directory: `<checkpointId>.tar.gz`, and beside it what the next checkpoint is compared with. A file
// has its name only when it is whole and on disk; until then it ends in `.partial`. As long as its
// record is not stored, `<checkpointId>.unsettled` says so to the next start.
import type { WriteStream } from 'node:fs';
import { type FileHandle, mkdir, open, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

const PARTIAL = /^ckp_[0-9a-z]{26}\.(?:tar|manifest)\.gz\.partial$/;
const UNSETTLED = /^(ckp_[0-9a-z]{26})\.unsettled$/;

export type FileKind = 'tar' | 'manifest';

export class CheckpointDirectory {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Makes it, and removes what an earlier run did not finish. Answers the checkpoints that it left unsettled. */
  async start(): Promise<string[]> {
    await mkdir(this.#path, { recursive: true, mode: 0o700 });
    const names = await readdir(this.#path);
    for (const name of names) if (PARTIAL.test(name)) await rm(join(this.#path, name));
    return names.flatMap((name) => UNSETTLED.exec(name)?.[1] ?? []);
  }

  /** Before the first of its files is made. */
  async unsettle(id: string): Promise<void> {
    await writeFile(this.#unsettledPath(id), '', { mode: 0o600 });
  }

  /** When its record is stored. */
  async settle(id: string): Promise<void> {
    await rm(this.#unsettledPath(id), { force: true });
  }

  pathOf(id: string, kind: FileKind = 'tar'): string {
    return join(this.#path, `${id}.${kind}.gz`);
  }

  open(id: string, kind: FileKind = 'tar'): Promise<FileHandle> {
    return open(this.pathOf(id, kind), 'r');
  }

  /** Runs `write`, which ends the file and so brings it to disk, has it checked, and only then gives it its name. Leaves
   *  nothing of it when anything fails. */
  async writeWhole<T>(
    id: string,
    kind: FileKind,
    write: (file: WriteStream) => Promise<T>,
    check: (path: string, written: T) => Promise<void> = async () => {},
  ): Promise<T> {
    const path = this.pathOf(id, kind);
    const partial = `${path}.partial`;
    const file = (await open(partial, 'wx', 0o600)).createWriteStream({ flush: true });
    try {
      const written = await write(file);
      await check(partial, written);
      await rename(partial, path);
      await this.#sync();
      return written;
    } catch (error) {
      file.destroy();
      await rm(partial, { force: true });
      await rm(path, { force: true });
      throw error;
    }
  }

  /** Removes the files of exactly this checkpoint. */
  async remove(id: string): Promise<void> {
    await rm(this.pathOf(id), { force: true });
    await rm(this.pathOf(id, 'manifest'), { force: true });
    await this.settle(id);
  }

  #unsettledPath(id: string): string {
    return join(this.#path, `${id}.unsettled`);
  }

  /** Makes new names survive a crash. */
  async #sync(): Promise<void> {
    const directory = await open(this.#path, 'r');
    try {
      await directory.sync();
    } finally {
      await directory.close();
    }
  }
}

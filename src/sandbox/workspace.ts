// A workspace on the host: a directory that its sandbox's uid owns, in one that is ours, with a virtual environment
// made by hand. The environment's path is fixed inside, so that copies of it work anywhere.
import {
  chmodSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  rmdirSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';

export const VENV = '/workspace/.venv';
/** Where the read-only pip is inside. */
export const INSIDE_PIP = '/run/pip';
export const INSIDE_PIP_CURRENT = `${INSIDE_PIP}/current`;

export class Workspace {
  /** Bound at /workspace. */
  readonly path: string;

  constructor(
    readonly directory: string,
    readonly uid: number | null,
  ) {
    this.path = join(directory, 'workspace');
  }

  /** Empty. Synchronous, as `fill`, since it is quicker than one turn of a thread pool. */
  create(): void {
    // Everybody may pass (the sandbox's uid has to), nobody may look.
    mkdirSync(this.directory, { mode: 0o711 });
    chmodSync(this.directory, 0o711);
    mkdirSync(this.path);
    this.#own('', 0o700);
  }

  /** What a new one has in it: a dozen calls, a third of a millisecond. */
  fill(pythonVersion: string): void {
    // Again, as a file system of its own may have been mounted over it.
    this.#own('', 0o700);
    this.#makeVenv(pythonVersion);
  }

  /** False only when there surely is none. Throws for whatever else is there, or when it cannot be looked at. */
  exists(): boolean {
    const found = lstatSync(this.path, { throwIfNoEntry: false });
    if (found && !found.isDirectory()) throw new Error(`${this.path} is not a directory`);
    return found !== undefined;
  }

  /** A program may have taken all rights of /workspace from itself; then nothing could start there. */
  makeUsable(): void {
    const { mode } = statSync(this.path);
    if ((mode & 0o700) !== 0o700) chmodSync(this.path, (mode & 0o777) | 0o700);
  }

  /** When all that was in it is gone. */
  removeEmpty(): void {
    for (const path of [this.path, this.directory]) {
      try {
        rmdirSync(path);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
      }
    }
  }

  #makeVenv(pythonVersion: string): void {
    const python = `python${pythonVersion}`;
    const packages = `.venv/lib/${python}/site-packages`;
    for (const path of ['.venv', '.venv/bin', '.venv/lib', `.venv/lib/${python}`, packages]) {
      this.#makeDirectory(path, 0o755);
    }
    this.#link('/usr/bin/python3', '.venv/bin/python');
    this.#link('python', '.venv/bin/python3');
    this.#link('python', `.venv/bin/${python}`);
    this.#link('lib', '.venv/lib64');
    this.#write(
      '.venv/pyvenv.cfg',
      `home = /usr/bin\ninclude-system-site-packages = false\nversion = ${pythonVersion}\n`,
    );
    this.#write(`${packages}/codegen-pip.pth`, `${INSIDE_PIP_CURRENT}\n`);
    this.#write('.venv/bin/pip', `#!/bin/sh\nexec ${VENV}/bin/python -m pip "$@"\n`, 0o755);
  }

  #makeDirectory(path: string, mode: number): void {
    mkdirSync(join(this.path, path), { mode });
    this.#own(path, mode);
  }

  #write(path: string, text: string, mode = 0o644): void {
    const full = join(this.path, path);
    writeFileSync(full, text, { mode, flag: 'wx' });
    this.#own(path, mode);
  }

  #link(target: string, path: string): void {
    symlinkSync(target, join(this.path, path));
    this.#own(path);
  }

  #own(path: string, mode?: number): void {
    const full = join(this.path, path);
    // The umask may have taken bits away.
    if (mode !== undefined) chmodSync(full, mode);
    if (this.uid !== null) lchownSync(full, this.uid, this.uid);
  }
}

/** Workspaces below `directory` with the uid that owns each. */
export async function workspacesBelow(directory: string): Promise<{ id: string; uid: number | null }[]> {
  return (await readdir(directory)).map((id) => ({
    id,
    uid: lstatSync(join(directory, id, 'workspace'), { throwIfNoEntry: false })?.uid ?? null,
  }));
}

// Sandboxes that live for one program of our own: walking, filling and deleting a workspace.
import type { Readable, Writable } from 'node:stream';

/** One program in a sandbox of its own. */
export interface OneShot {
  readonly stdin: Writable;
  readonly stdout: Readable;
  /** Resolves, never rejects, when its sandbox is gone. `stderr` is its last 64 KiB. */
  readonly ended: Promise<{
    readonly code: number | null;
    readonly signal: string | null;
    readonly stderr: string;
  }>;
  kill(): void;
}

export interface OneShotProgram {
  readonly script: 'tree.py';
  readonly args: readonly string[];
  readonly workspace: 'read' | 'write' | 'none';
  /** Passes over permissions inside its own user namespace, for trees with entries that nobody may read. */
  readonly overrideOwner: boolean;
}

export type SpawnOneShot = (program: OneShotProgram) => Promise<OneShot>;

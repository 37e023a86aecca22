import type { Logger } from '../observability/logger.js';
import type { EgressLimits } from './egress-budget.js';
import type { HostDirectories } from './host-directories.js';
import type { Launcher } from './launch.js';
import type { DiskLimiter } from './limits/disk.js';
import type { Limiter } from './limits/limits.js';
import type { Starts } from './starts.js';

/** What all sandboxes of a driver share. */
export interface SandboxHost {
  readonly directories: HostDirectories;
  readonly limiter: Limiter;
  readonly launcher: Launcher;
  readonly starts: Starts;
  readonly disks: DiskLimiter;
  readonly python: { readonly path: string; readonly version: string };
  /** For programs of the session. */
  readonly filter: Buffer;
  /** For programs of ours that need no sockets at all. */
  readonly closedFilter: Buffer;
  /** Programs get namespaces of their own inside a lasting sandbox; else each gets a sandbox of its own. */
  readonly nested: boolean;
  readonly agentIdleMs: number;
  /** A sandbox that has not started within this time, in which it could have, is given up. */
  readonly startWithinMs: number;
  /** `host:port` of the service, which no sandbox may reach. */
  readonly ownAddresses: () => readonly string[];
  /** Of each sandbox. */
  readonly egressLimits: EgressLimits;
  /** Resolves when pip is unpacked; rejects with what is missing. */
  readonly pipReady: () => Promise<void>;
  /** Nothing of the sandbox is left. */
  readonly removed: (sandbox: { readonly id: string; readonly uid: number | null }) => void;
  readonly log: Logger;
}

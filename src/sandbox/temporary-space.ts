// How large the /tmp and /dev/shm of a program are. They are memory and count as such where control groups hold it, so
// they grow with what the session may use: half of it each, and no less than small programs expect.
const MIB = 1024 * 1024;
const LEAST_TMP_BYTES = 64 * MIB;
const LEAST_SHM_BYTES = 16 * MIB;

export interface TemporarySpace {
  readonly tmpBytes: number;
  readonly shmBytes: number;
}

export function temporarySpace(memoryBytes: number): TemporarySpace {
  const half = Math.floor(memoryBytes / 2);
  return { tmpBytes: Math.max(LEAST_TMP_BYTES, half), shmBytes: Math.max(LEAST_SHM_BYTES, half) };
}

/** Of programs of our own. */
export const LEAST_TEMPORARY_SPACE = temporarySpace(0);

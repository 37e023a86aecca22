import { IsolationUnavailable } from '../errors.js';
import type { SandboxDriver } from './sandbox.js';

/** Throws IsolationUnavailable, with what is missing and how to mend it, where nothing may run. */
export function requireIsolation({ isolation }: Pick<SandboxDriver, 'isolation'>): void {
  if (isolation.level !== null) return;
  throw new IsolationUnavailable(
    isolation.missing.map(({ what }) => what).join('; ') || 'the sandbox could not be built',
    isolation.missing.map(({ fix }) => fix).join(' ') || 'Run `codegen-worker doctor` on the host.',
  );
}

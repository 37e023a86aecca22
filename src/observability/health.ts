// Whether the service can do its work now, and if not, the first reason.

export type Health =
  | { readonly state: 'ready'; readonly isolation: string }
  | { readonly state: 'closing' }
  | { readonly state: 'storeUnavailable'; readonly cause: unknown }
  | { readonly state: 'isolationUnavailable'; readonly what: string; readonly fix: string };

export interface HealthOptions {
  readonly isClosing: () => boolean;
  /** Rejects when nothing can be stored. */
  readonly probeStore: () => Promise<unknown>;
  readonly isolation: () => {
    readonly level: string | null;
    readonly missing: readonly { readonly what: string; readonly fix: string }[];
  };
}

export async function checkHealth({ isClosing, probeStore, isolation }: HealthOptions): Promise<Health> {
  if (isClosing()) return { state: 'closing' };
  try {
    await probeStore();
  } catch (cause) {
    return { state: 'storeUnavailable', cause };
  }
  const { level, missing } = isolation();
  if (level !== null) return { state: 'ready', isolation: level };
  return {
    state: 'isolationUnavailable',
    what: missing.map(({ what }) => what).join('; ') || 'no isolation reached',
    fix: missing.map(({ fix }) => fix).join(' ') || 'Run codegen-worker doctor.',
  };
}

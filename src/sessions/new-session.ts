// A session that does not exist yet: its row, and how it comes into the store.
import type { Config } from '../config.js';
import { StoreUnavailable } from '../errors.js';
import type { Journal } from '../events/journal.js';
import { newId } from '../lib/ids.js';
import type { Principal } from '../lib/principal.js';
import { checkSessionEnv } from '../sandbox/exec-limits.js';
import type { Sandbox, SandboxDriver, SandboxSpec } from '../sandbox/sandbox.js';
import type { SessionRow } from '../store/schema.js';
import { resolveLimits, resolveNetwork, resolveSeconds } from './defaults.js';
import type { SessionRepository } from './repository.js';
import type { CreateSession } from './schema.js';

interface Circumstances {
  readonly config: Config;
  readonly isolation: string | null;
  readonly now: number;
}

/** Throws ValidationFailed for what the operator does not allow. */
export function newSessionRow(
  principal: Principal,
  body: CreateSession,
  { config, isolation, now }: Circumstances,
): SessionRow {
  checkSessionEnv(body.env ?? {});
  const id = newId('ses');
  return {
    id,
    tenant: principal.tenant,
    session_id: body.sessionId ?? id,
    workspace_id: body.workspaceId ?? null,
    user_id: body.userId ?? null,
    language: body.language ?? 'python',
    state: 'ready',
    state_reason: body.checkpointId ? 'restored' : 'created',
    env: JSON.stringify(body.env ?? {}),
    metadata: JSON.stringify(body.metadata ?? {}),
    limits: JSON.stringify(resolveLimits(body.limits ?? {}, config)),
    concurrency: body.concurrency ?? 1,
    network: JSON.stringify(resolveNetwork(body.network)),
    isolation,
    sandbox_uid: null,
    created_at: now,
    last_active_at: now,
    ended_at: null,
    idle_timeout_seconds: resolveSeconds(body.idleTimeoutSeconds, config.DEFAULT_IDLE_TIMEOUT_SECONDS),
    max_lifetime_seconds: resolveSeconds(body.maxLifetimeSeconds, config.DEFAULT_MAX_LIFETIME_SECONDS),
    checkpoint_on_expiry: body.checkpointOnExpiry === false ? 0 : 1,
    last_seq: 0,
    trimmed_seq: 0,
    stored_bytes: 0,
    end_checkpoint: null,
    last_checkpoint_id: null,
    restored_from: body.checkpointId ?? null,
  };
}

/** One that stands ready, whose id the session then has inside the service; or one that is made for it. */
export async function newSandbox(
  row: SessionRow,
  driver: SandboxDriver,
  specOf: (row: SessionRow) => SandboxSpec,
): Promise<Sandbox> {
  const spec = specOf(row);
  const spare = driver.takeSpare(spec.limits);
  if (!spare) return driver.create(spec);
  row.id = spare.id;
  return spare.assign(specOf(row));
}

/** Stores a session that is ready, and gives the number of its last event. */
export async function storeNewSession(
  { journal, repository }: { journal: Journal; repository: SessionRepository },
  row: SessionRow,
  reason: string,
): Promise<number> {
  try {
    const seqs = await journal.append(
      { id: row.id, sessionId: row.session_id },
      [
        { type: 'session.state', data: { from: null, to: 'creating', reason } },
        { type: 'session.state', data: { from: 'creating', to: 'ready', reason } },
      ],
      { before: [repository.insert(row)] },
    );
    return seqs.at(-1)!;
  } catch (error) {
    // Where the store could not say whether it took it, the next read tells.
    if (!(error instanceof StoreUnavailable) || error.outcome !== 'unknown') throw error;
    const stored = await repository.byId(row.id);
    if (stored) return stored.last_seq;
    throw new StoreUnavailable(error.cause, 'notStarted');
  }
}

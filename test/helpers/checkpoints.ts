// Checkpoints on a real store and real directories; the sandbox is the same tree program without walls around it.
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Test } from 'tap';
import { CheckpointRepository } from '../../src/checkpoints/repository.js';
import { Checkpoints } from '../../src/checkpoints/service.js';
import { SessionEnded, SessionNotFound } from '../../src/errors.js';
import type { Principal } from '../../src/lib/principal.js';
import type { SpawnOneShot } from '../../src/sandbox/oneshot.js';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import { packTree } from '../../src/sandbox/tree-pack.js';
import { writeTree } from '../../src/sandbox/tree-writer.js';
import { LiveSession } from '../../src/sessions/live-session.js';
import type { CreateSession, Session } from '../../src/sessions/schema.js';
import type { Sessions } from '../../src/sessions/service.js';
import type { SessionRow } from '../../src/store/schema.js';
import { Lane } from '../../src/tasks/lane.js';
import { Places } from '../../src/tasks/places.js';
import { addSession, openJournal, silent } from './store.js';
import { treePrograms } from './tree.js';

export const principal: Principal = { tenant: 'default' };

export interface CheckpointBench {
  readonly checkpoints: Checkpoints;
  readonly store: Awaited<ReturnType<typeof openJournal>>['store'];
  /** Where the archives are. */
  readonly archives: string;
  readonly live: Map<string, LiveSession>;
  /** What `restore` asked the sessions for. */
  readonly created: CreateSession[];
  /** A session, and the directory of its workspace. */
  session(
    values?: Partial<SessionRow>,
    programs?: (root: string) => SpawnOneShot,
  ): Promise<{ live: LiveSession; root: string }>;
}

export async function checkpointBench(
  t: Test,
  {
    kept = 10,
    base = tmpdir(),
    journal,
  }: {
    kept?: number;
    /** Where everything is. */
    base?: string;
    journal?: Partial<ConstructorParameters<typeof Checkpoints>[0]['journal']>;
  } = {},
): Promise<CheckpointBench> {
  const dir = mkdtempSync(join(base, 'codegen-worker-checkpoints-'));
  t.teardown(() => rmSync(dir, { recursive: true, force: true }));
  const opened = await openJournal(t);
  const live = new Map<string, LiveSession>();
  const created: CreateSession[] = [];

  const session: CheckpointBench['session'] = async (values = {}, programs = treePrograms) => {
    const { row } = await addSession(opened.store, { limits: '{"diskMb":100}', ...values });
    const root = join(dir, row.id);
    mkdirSync(root);
    const spawn = programs(root);
    const sandbox = {
      packTree: (signal: AbortSignal) => packTree(spawn, signal),
      writeTree: (entries: Parameters<Sandbox['writeTree']>[0], signal: AbortSignal) =>
        writeTree(spawn, entries, signal),
      freeze: async () => 'idle',
      thaw: async () => {},
    } as unknown as Sandbox;
    live.set(
      row.session_id,
      new LiveSession(row, sandbox, new Lane({ ...row, places: new Places({ total: 1, perTenant: 1 }) })),
    );
    return { live: live.get(row.session_id)!, root };
  };

  const sessions: Pick<Sessions, 'find' | 'findLive' | 'hold' | 'create'> = {
    async find(_principal, sessionId) {
      throw new SessionNotFound(sessionId);
    },
    async findLive(_principal, sessionId) {
      const found = live.get(sessionId);
      if (!found) throw new SessionEnded(sessionId, 'terminated');
      return found;
    },
    hold: (_live, work) => work('frozen'),
    async create(principal, body) {
      created.push(body);
      const { live } = await session({ restored_from: body.checkpointId ?? null });
      await checkpoints.restoreInto(principal, body.checkpointId!, live.sandbox);
      return { sessionId: live.row.session_id } as Session;
    },
  };
  const archives = join(dir, 'archives');
  const checkpoints = new Checkpoints({
    repository: new CheckpointRepository(opened.store),
    journal: { append: opened.journal.append.bind(opened.journal), ...journal },
    directory: archives,
    kept,
    requireDisk: () => {},
    log: silent,
    sessions,
  });
  await checkpoints.start();
  return { checkpoints, store: opened.store, archives, live, created, session };
}

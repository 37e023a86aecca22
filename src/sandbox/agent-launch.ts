// How a sandbox with an agent is started.
import { Agent, type AgentOptions } from './agent.js';
import { INSIDE_EGRESS_SOCKET, INSIDE_LIBRARY, NESTING_CAPABILITIES } from './bubblewrap.js';
import type { LimitGroup } from './limits/limits.js';
import { ProgramGroup } from './program-group.js';
import type { SandboxLimits } from './sandbox.js';
import type { SandboxHost } from './sandbox-host.js';
import { temporarySpace } from './temporary-space.js';
import { INSIDE_PIP, type Workspace } from './workspace.js';

/**
 * Modules that most programs use: loaded once, they cost a program no time. Yet each MiB of them costs every program 0.3 ms,
 * since it is forked twice and taken down twice (docs/decisions/0013). Of the standard library only: others start threads or
 * keep random state, which a fork must not share. `_ast` is what the first compile() of a process makes, in 1.5 ms.
 */
const PRELOADED =
  '_ast json re math collections itertools functools datetime time random string copy io traceback'.split(
    ' ',
  );

/** Those that are loaded for the programs that follow, once one of the session has imported them. Of the standard library,
 *  too. */
const PRELOADED_WHEN_USED =
  'textwrap pathlib glob shutil subprocess tempfile csv hashlib base64 typing dataclasses enum decimal fractions statistics urllib.parse urllib.request inspect argparse logging pickle uuid struct zlib socket sqlite3 threading asyncio concurrent.futures multiprocessing multiprocessing.spawn'.split(
    ' ',
  );

/** Processes of ours in a sandbox, which its limit on processes must leave room for: bubblewrap, the agent, the
 *  helper with its threads, the bridge, and a keeper beside each program. */
export const PROCESSES_OF_OURS = 24;

/** What others see in /proc of a program is written over what they see of the agent, and is no longer than that. */
const ROOM = ' '.repeat(4096);

/** Names the groups of programs apart. */
let programsSoFar = 0;

export interface AgentKind {
  /** Takes program after program; else it gets exactly one. */
  readonly lasting: boolean;
  /** Takes programs at all, and not only file operations. */
  readonly programs: boolean;
  readonly egressSocket: string;
  readonly limits: SandboxLimits;
  /** Aborted when the sandbox is not wanted any more. */
  readonly signal: AbortSignal;
  readonly notBegun?: AgentOptions['notBegun'];
}

/** Resolves when its process runs, under the limits of `group`; it is ready for work a little later (`ready`). */
export async function launchAgent(
  host: SandboxHost,
  workspace: Workspace,
  group: LimitGroup,
  kind: AgentKind,
): Promise<Agent> {
  workspace.makeUsable();
  const { nested, startWithinMs } = host;
  const { signal, limits } = kind;
  const space = temporarySpace(limits.memoryBytes);
  const preloads = kind.programs && kind.lasting;
  const began = performance.now();
  const launched = await host.launcher.launch({
    uid: workspace.uid,
    // With capabilities inside, the agent has to mount and unshare, which the filter forbids its children.
    seccomp: nested ? null : host.filter,
    adopt: (pids) => group.adopt(pids),
    ...{ startWithinMs, signal },
    policy: {
      workspace: { source: workspace.path, writable: true },
      library: host.directories.library,
      binds: [
        { source: kind.egressSocket, target: INSIDE_EGRESS_SOCKET },
        { source: host.directories.pip, target: INSIDE_PIP },
      ],
      ...space,
      capabilities: nested ? NESTING_CAPABILITIES : [],
      env: {
        PATH: '/usr/local/bin:/usr/bin:/bin',
        HOME: '/workspace',
        LANG: 'C.UTF-8',
        TMPDIR: '/tmp',
        ...(kind.programs ? { ROOM } : {}),
      },
      command: [
        host.python.path,
        '-S',
        `${INSIDE_LIBRARY}/agent.pyc`,
        JSON.stringify({
          nested,
          applyFilter: nested,
          spare: kind.programs,
          refill: kind.programs && kind.lasting,
          preload: preloads ? PRELOADED : [],
          preloadWhenUsed: preloads ? PRELOADED_WHEN_USED : [],
          ...space,
          ...(kind.programs ? { room: ROOM } : {}),
          helperLimits: { fileBytes: limits.diskBytes, openFiles: limits.maxOpenFiles },
        }),
      ],
    },
  });
  return new Agent({
    launched,
    groupFor: (keeperPid) => {
      programsSoFar += 1;
      return ProgramGroup.create(group, `p${programsSoFar}`, keeperPid, {
        agentPid: launched.innerPid,
        uid: workspace.uid ?? process.getuid?.() ?? 0,
        nested,
      });
    },
    groupCounts: host.limiter.kind !== null,
    idleMs: kind.lasting ? host.agentIdleMs : null,
    startLimitMs: startWithinMs,
    startWithinMs: Math.max(startWithinMs / 2, startWithinMs - (performance.now() - began)),
    programs: kind.programs,
    preloads,
    log: host.log,
    ...(kind.notBegun ? { notBegun: kind.notBegun } : {}),
  });
}

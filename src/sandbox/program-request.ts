import { INSIDE_LIBRARY } from './bubblewrap.js';
import type { EgressPolicy, ExecRequest, SandboxLimits } from './sandbox.js';
import { VENV } from './workspace.js';

export const BRIDGE_URL = 'http://127.0.0.1:3128';

/** What the agent is told to run, as it takes it. */
export function programRequest(
  { program, cwd, env }: ExecRequest,
  sandbox: {
    readonly env: Readonly<Record<string, string>>;
    readonly limits: Readonly<Record<string, number>>;
    readonly egress: EgressPolicy;
    readonly python: string;
    /** Below the workspace: room of pip's own, removed after it. */
    readonly scratch: string;
  },
): Buffer {
  const what =
    program.kind === 'pip'
      ? {
          kind: 'argv',
          argv: [
            ...[sandbox.python, '-I', '-S', `${INSIDE_LIBRARY}/pip.py`],
            ...[program.reportMark, sandbox.scratch, ...program.args],
          ],
        }
      : program;
  const inherited = program.kind === 'pip' ? {} : { ...proxyEnv(sandbox.egress), ...sandbox.env, ...env };
  return Buffer.from(
    JSON.stringify({ ...what, cwd, env: { ...OWN_ENV, ...inherited }, limits: sandbox.limits }),
  );
}

/** What holds each process by itself, whatever holds the sandbox. */
export function processLimits(
  limits: SandboxLimits,
  options: {
    readonly hasCgroup: boolean;
    readonly processesOfOurs: number;
    /** False in a workspace that is over its size: files can be read and removed, and none may grow. */
    readonly mayWrite: boolean;
  },
): Record<string, number> {
  return {
    openFiles: limits.maxOpenFiles,
    fileBytes: options.mayWrite ? limits.diskBytes : 0,
    processes: limits.maxProcesses + options.processesOfOurs,
    // Threads and allocators reserve far more than they use.
    ...(options.hasCgroup ? {} : { addressSpaceBytes: 4 * limits.memoryBytes }),
  };
}

const OWN_ENV = {
  PATH: `${VENV}/bin:/usr/local/bin:/usr/bin:/bin`,
  VIRTUAL_ENV: VENV,
  HOME: '/workspace',
  LANG: 'C.UTF-8',
  TMPDIR: '/tmp',
  // What a Python prints is seen as it comes, and not lost when it is killed.
  PYTHONUNBUFFERED: '1',
};

/** All that is the sandbox itself: each client understands some of these spellings. */
const OWN_NAMES = 'localhost,sandbox,127.0.0.1,127.0.0.0/8,0.0.0.0,::1,[::1],::,[::]';

function proxyEnv({ allow }: EgressPolicy): Record<string, string> {
  if (allow.length === 0) return {};
  const names = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY'];
  return {
    ...Object.fromEntries(names.map((name) => [name, BRIDGE_URL])),
    no_proxy: OWN_NAMES,
    NO_PROXY: OWN_NAMES,
  };
}

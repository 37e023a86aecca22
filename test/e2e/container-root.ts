// Root as it is in a container with Docker's default capabilities: it may neither mount, nor look into processes of others.
import { chmodSync } from 'node:fs';
import t, { type Test } from 'tap';
import { emptyDirectory } from '../helpers/directory.js';
import { type Host, THIS_HOST } from '../helpers/hosts.js';
import { startProcess } from '../helpers/service-process.js';

/** Source: moby/profiles, `DefaultCapabilities`. */
const DOCKERS = [
  ...['chown', 'dac_override', 'fowner', 'fsetid', 'kill', 'setgid', 'setuid', 'setpcap', 'net_bind_service'],
  ...['net_raw', 'sys_chroot', 'mknod', 'audit_write', 'setfcap'],
].map((name) => `+${name}`);
const limits = `-all,${DOCKERS.join()}`;
const CONTAINER: Host = { ...THIS_HOST, prefix: ['setpriv', '--bounding-set', limits, '--inh-caps', limits] };

interface Reply {
  readonly level: string | null;
  readonly missing: readonly { readonly what: string }[];
  readonly sessionId: string;
  readonly checkpointId: string;
}

async function startService(t: Test, host = CONTAINER, mode = 0o711) {
  const dataDir = emptyDirectory(t);
  chmodSync(dataDir, mode);
  const service = startProcess(t, dataDir, {}, host);
  const { address } = await service.line('listening');
  const call = async (path: string, body?: object): Promise<Reply> => {
    const headers = { 'content-type': 'application/json' };
    const post = body && { method: 'POST', headers, body: JSON.stringify(body) };
    return (await fetch(`${address}/v1${path}`, post)).json() as Promise<Reply>;
  };
  return { ...service, call };
}

const isRoot = process.getuid?.() === 0;

t.test(
  'as root with the capabilities of a container tasks run, each session with a uid of its own',
  async (t) => {
    if (!isRoot) return t.comment('needs root');
    const everything = await startService(t, THIS_HOST);
    const { level } = await everything.call('/isolation');
    if (level !== 'full' && level !== 'oneshot') return t.comment('needs user namespaces');

    const { call, child, exited } = await startService(t);
    t.match(await call('/isolation'), { level, enforced: { uid: 'perSession' } });
    const { sessionId } = await call('/sessions', {});
    const run = (tool: string, args: object) =>
      call(`/sessions/${sessionId}/tasks?wait=60`, { tool, arguments: args });
    t.match(await run('run.python', { code: 'open("a", "w").write("kept")' }), { status: 'success' });
    t.match(await run('fs.read', { path: 'a' }), { outputs: { contents: 'kept' } });
    const { checkpointId } = await call(`/sessions/${sessionId}/checkpoints`, {});
    t.match(await call(`/checkpoints/${checkpointId}/restore`, {}), { state: 'ready' });
    child.kill('SIGTERM');
    t.equal(await exited, 0);
  },
);

t.test(
  'where it cannot mount and strangers cannot pass, it says which directory and what to do',
  async (t) => {
    if (!isRoot) return t.comment('needs root');
    const { call, line } = await startService(t, CONTAINER, 0o700);
    const { level, missing } = await call('/isolation');
    if (level !== null) return t.comment('the directory can be reached all the same');
    t.match(missing[0]?.what, /chmod o\+x/);
    t.match(missing[0]?.what, /CAP_SYS_ADMIN/);
    t.match(await line('tasks are refused'), { level: 'error', missing });
  },
);

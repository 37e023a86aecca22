// Memory in socket buffers that counts towards no control group, read from the kernel's own list of the sockets of a
// sandbox's network. A connection belongs to a group only once it is accepted: what was sent to it before is nobody's,
// with cgroup v2 as well, and a listening socket can hold thousands of them. Without control groups nothing is counted.
import { readFile, readlink } from 'node:fs/promises';
import { readKernelFile } from './limits/kernel-file.js';

/** With fewer sockets the list is not read: the kernel goes through those of the whole host for it, in milliseconds. */
const FEW_SOCKETS = 16;
/** What the buffer of a connection may hold before its program reads from it: small pieces take far more memory than their
 *  bytes, and only the bytes are told. */
const UNREAD_BUFFER_BYTES = 128 * 1024;
/** What a socket may hold whose buffers are of the usual size. */
const USUAL_BUFFER_BYTES = 208 * 1024;
/** So many sockets are nobody's harm, however little memory a session has. */
const USUAL_SOCKETS = 256;

/** In the network of the process `pid`; `all` counts every socket, not only connections that nobody has accepted. */
export async function uncountedSocketBytes(pid: number, { all }: { all: boolean }): Promise<number> {
  const network = `/proc/${pid}/net`;
  const [counts, counts6] = [linesNow(`${network}/sockstat`), linesNow(`${network}/sockstat6`)];
  const tcpSockets = count(counts, 'TCP: inuse') + count(counts6, 'TCP6: inuse');
  const anySockets = count(counts, 'sockets: used');
  if (tcpSockets <= FEW_SOCKETS && (!all || anySockets <= USUAL_SOCKETS)) return 0;
  const connections = tcpSockets > FEW_SOCKETS ? await tcpOf(network) : [];
  // Read through a pid: one that is used anew by a process of the host must not stand for the sandbox.
  if (await isOwnNetwork(pid)) return 0;
  if (!all) return sum(connections.filter(({ inode }) => inode === '0').map(unreadBytes));
  const inAny = Math.max(0, anySockets - USUAL_SOCKETS) * USUAL_BUFFER_BYTES;
  return Math.max(inAny, sum(connections.map(({ sent, received }) => sent + received)));
}

interface Connection {
  readonly sent: number;
  readonly received: number;
  /** 0 for one that belongs to no descriptor. */
  readonly inode: string;
}

/** Small pieces take far more memory than their bytes. */
const unreadBytes = ({ received }: Connection) =>
  received === 0 ? 0 : Math.max(2 * received, UNREAD_BUFFER_BYTES);

async function tcpOf(network: string): Promise<Connection[]> {
  const tables = await Promise.all([lines(`${network}/tcp`), lines(`${network}/tcp6`)]);
  return tables.flatMap((table) =>
    table.flatMap((line) => {
      const fields = line.trim().split(/\s+/);
      const queues = /^([0-9A-F]{8}):([0-9A-F]{8})$/.exec(fields[4] ?? '');
      if (!queues || fields[3] === LISTENING) return [];
      const [sent, received] = [Number.parseInt(queues[1]!, 16), Number.parseInt(queues[2]!, 16)];
      return [{ sent, received, inode: fields[9] ?? '' }];
    }),
  );
}

/** Its queues are numbers of connections. */
const LISTENING = '0A';

async function isOwnNetwork(pid: number): Promise<boolean> {
  const [theirs, ours] = await Promise.all(
    [pid, 'self'].map((who) => readlink(`/proc/${who}/ns/net`).catch(() => null)),
  );
  return theirs === null || theirs === ours;
}

/** For what is counted and not gone through: it takes less than the way to a thread and back. */
function linesNow(path: string): readonly string[] {
  try {
    return (readKernelFile(path) ?? '').split('\n');
  } catch {
    return [];
  }
}

const lines = async (path: string) => (await readFile(path, 'latin1').catch(() => '')).split('\n');

/** The number after `name` at the beginning of a line. */
function count(table: readonly string[], name: string): number {
  const line = table.find((each) => each.startsWith(`${name} `));
  return line === undefined ? 0 : Number.parseInt(line.slice(name.length), 10) || 0;
}

const sum = (numbers: readonly number[]) => numbers.reduce((total, each) => total + each, 0);

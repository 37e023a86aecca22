// Programs whose output is hard to tell: each is shown the same on every transport, and kept exactly.
import type { Test } from 'tap';
import type { Event } from '../../src/events/schema.js';
import type { Task } from '../../src/tasks/schema.js';
import { Follower, TRANSPORTS } from './follower.js';
import { brokenRules } from './journal-rules.js';
import { processesNamed, startService } from './world.js';

interface Nasty {
  readonly name: string;
  readonly code: string;
  /** What stdout must be, or begin with. */
  readonly stdout: Buffer;
  readonly isPrefix?: boolean;
  readonly processesKilled?: number;
}

const DAEMON = 'cw-daemon';

/** Bytes of every kind, the same in both languages. */
const SCRAMBLE = `def scrambled(n, x=1):
  out = bytearray(n)
  for i in range(n):
    x = (x * 69069 + 1) % 4294967296
    out[i] = x >> 24
  return bytes(out)
`;
function scrambled(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let x = 1;
  for (let at = 0; at < length; at += 1) {
    x = (Math.imul(x, 69069) + 1) >>> 0;
    bytes[at] = x >>> 24;
  }
  return bytes;
}

const CHARACTERS = 'aü€😀';

const nasties = (lineBytes: number): Nasty[] => [
  {
    name: 'bytes that are no text',
    code: `${SCRAMBLE}import os\nos.write(1, scrambled(40000)); os.write(2, scrambled(3000)[::-1])`,
    stdout: scrambled(40_000),
  },
  {
    name: 'characters a byte at a time',
    code: `import os, time
for byte in '${CHARACTERS}'.encode() * 40:
  os.write(1, bytes([byte])); time.sleep(.0007)`,
    stdout: Buffer.from(CHARACTERS.repeat(40)),
  },
  {
    name: 'characters across the borders of events and frames',
    code: `import os\nrest = b'.' + '${CHARACTERS}'.encode() * 100000\nwhile rest: rest = rest[os.write(1, rest):]`,
    stdout: Buffer.from(`.${CHARACTERS.repeat(100_000)}`),
  },
  {
    name: 'text that ends within a character',
    code: "import os\nos.write(1, b'cut \\xf0\\x9f\\x98')",
    stdout: Buffer.concat([Buffer.from('cut '), Buffer.from([0xf0, 0x9f, 0x98])]),
  },
  {
    name: 'a million empty prints',
    code: 'for _ in range(1000000): print()',
    stdout: Buffer.alloc(1_000_000, '\n'),
  },
  {
    name: 'one long line',
    code: `import os\nrest = memoryview(b'0123456789' * ${lineBytes / 10})\nwhile rest: rest = rest[os.write(1, rest):]`,
    stdout: Buffer.alloc(lineBytes, '0123456789'),
  },
  {
    name: 'output of a child after the main process has ended',
    code: `import os
if os.fork() == 0:
  while True: os.write(1, b'child\\n')
os.write(1, b'')`,
    stdout: Buffer.alloc(0),
    isPrefix: true,
    processesKilled: 1,
  },
  {
    name: 'a daemon that holds stdout',
    code: `import ctypes, os, time
ready, is_ready = os.pipe()
if os.fork() == 0:
  os.setsid()
  if os.fork() == 0:
    ctypes.CDLL(None).prctl(15, b'${DAEMON}', 0, 0, 0)
    os.write(is_ready, b'.')
    time.sleep(600)
  os._exit(0)
os.read(ready, 1); print('started')`,
    stdout: Buffer.from('started\n'),
    processesKilled: 1,
  },
];

/** Runs them one after the other, watched over every transport. */
export async function tellNastyOutput(t: Test, { lineBytes }: { lineBytes: number }): Promise<void> {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const url = () => world.url;
  const readers = TRANSPORTS.map((transport) => new Follower({ transport, sessionId, url }));
  t.teardown(() => Promise.all(readers.map((reader) => reader.stop())));
  const ran: { nasty: Nasty; task: Task; stdout: Buffer; stderr: Buffer }[] = [];
  for (const nasty of nasties(lineBytes)) {
    const task = await world.python(sessionId, nasty.code);
    const bytesOf = async (stream: string) =>
      Buffer.from(await (await fetch(`${world.url}/v1/tasks/${task.taskId}/output/${stream}`)).arrayBuffer());
    ran.push({ nasty, task, stdout: await bytesOf('stdout'), stderr: await bytesOf('stderr') });
  }
  t.same(await processesNamed(DAEMON), [], 'no daemon stays');
  await world.call('DELETE', `/v1/sessions/${sessionId}`);
  await Promise.all(readers.map((reader) => reader.finished));
  const [first, ...others] = readers;
  for (const { transport, lines } of others) {
    t.ok(
      lines.join('\n') === first!.lines.join('\n'),
      `${transport} and ${first!.transport} agree byte for byte`,
    );
  }
  const events = first!.lines.map((line) => JSON.parse(line) as Event);
  t.same(brokenRules(events), []);
  for (const { nasty, task, ...streams } of ran) {
    const { name, stdout, isPrefix, processesKilled } = nasty;
    t.match(task, { status: 'success', ending: { cause: 'exited', exitCode: 0, processesKilled } }, name);
    const kept = isPrefix ? streams.stdout.subarray(0, stdout.length) : streams.stdout;
    t.ok(kept.equals(stdout), `${name}: kept exactly`);
    for (const stream of ['stdout', 'stderr'] as const) {
      const texts = events.flatMap((event) =>
        event.type === 'task.output' && event.taskId === task.taskId && event.data.stream === stream
          ? [event.data.text]
          : [],
      );
      t.ok(texts.join('') === streams[stream].toString('utf8'), `${name}: ${stream} shown as what it is`);
    }
  }
}

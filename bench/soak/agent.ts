// What an agent's work looks like from outside: sessions that come and go, each with a reader, files, programs short and
// long, output, a program that is cancelled and one that runs out of time, a checkpoint at the end.
import type { Service } from '../service.js';

interface Kind {
  readonly name: string;
  readonly tool: string;
  readonly arguments: (n: number) => Record<string, unknown>;
  readonly constraints?: Record<string, unknown>;
}

const python = (code: string) => () => ({ code });

const KINDS: readonly Kind[] = [
  { name: 'print', tool: 'run.python', arguments: python('print(1)') },
  {
    name: 'write',
    tool: 'fs.write',
    arguments: (n) => ({ path: `notes/${n % 10}.txt`, contents: 'x'.repeat(10_000) }),
  },
  {
    name: 'script',
    tool: 'run.python',
    arguments: python(
      'import json, re, hashlib\nrows = [{"n": n, "square": n * n} for n in range(5_000)]\nprint(hashlib.sha256(json.dumps(rows).encode()).hexdigest())',
    ),
  },
  { name: 'print', tool: 'run.python', arguments: python('print(1)') },
  { name: 'list', tool: 'fs.list', arguments: () => ({ path: 'notes' }) },
  {
    name: 'output',
    tool: 'run.python',
    arguments: python('for n in range(2_000): print("line", n, "x" * 90)'),
  },
  { name: 'echo', tool: 'echo', arguments: () => ({ message: 'hello' }) },
  { name: 'command', tool: 'run.command', arguments: () => ({ command: 'ls -l notes | wc -l' }) },
  { name: 'print', tool: 'run.python', arguments: python('print(1)') },
  {
    name: 'timeout',
    tool: 'run.python',
    arguments: python('import time\ntime.sleep(60)'),
    constraints: { timeoutSeconds: 0.1, killGraceMs: 0 },
  },
  { name: 'failure', tool: 'run.python', arguments: python('raise ValueError("no")') },
  { name: 'read', tool: 'fs.read', arguments: () => ({ path: 'notes/1.txt', encoding: 'utf8' }) },
];
const TASKS_OF_A_SESSION = 48;

export interface Done {
  readonly kind: string;
  /** From the moment the task was due to its reply. */
  readonly ms: number;
}

/** Works until `turn` says that it is over (null); a turn gives the moment for which the next task was due. */
export async function work(
  service: Service,
  turn: () => Promise<number | null>,
  onDone: (done: Done) => void,
): Promise<void> {
  for (;;) {
    const sessionId = await service.session();
    const reader = await service.reader(sessionId, () => {});
    try {
      for (let n = 0; n < TASKS_OF_A_SESSION; n += 1) {
        const due = await turn();
        if (due === null) return;
        const kind = KINDS[n % KINDS.length]!;
        await service.call('POST', `/v1/sessions/${sessionId}/tasks?wait=60`, {
          tool: kind.tool,
          arguments: kind.arguments(n),
          ...(kind.constraints && { constraints: kind.constraints }),
        });
        onDone({ kind: kind.name, ms: performance.now() - due });
      }
      await service.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
    } finally {
      reader.close();
      await service.call('DELETE', `/v1/sessions/${sessionId}?force=true`);
    }
  }
}

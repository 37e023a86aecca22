// Tasks that an earlier run of the service left unfinished and that nothing runs any more: they end with the truth.
import type { Journal } from '../events/journal.js';
import type { TaskRow } from '../store/schema.js';
import { endingMessage } from './ending.js';
import type { TaskRepository } from './repository.js';
import { type Ending, statusOf } from './schema.js';

/** Stores the ending of a lost task, with the bytes it had printed. */
export async function endLostTask(
  { journal, repository }: { journal: Journal; repository: TaskRepository },
  row: TaskRow,
  sessionId: string,
  cause: 'interrupted' | 'sessionEnded',
  now: number,
): Promise<void> {
  const [stdout, stderr] = await Promise.all([
    repository.storedBytes(row.id, 'stdout'),
    repository.storedBytes(row.id, 'stderr'),
  ]);
  const usage = { outputBytes: stdout + stderr };
  const ending: Ending = { cause, message: endingMessage({ cause }) };
  const status = statusOf(ending);
  await journal.append(
    { id: row.session, sessionId },
    [
      {
        type: 'task.ended',
        taskId: row.task_id,
        data: { status, ending, outputsTruncated: usage.outputBytes > 0, usage },
      },
    ],
    {
      after: [
        repository.end(
          row,
          {
            status,
            ending: JSON.stringify(ending),
            outputs: '{}',
            usage: JSON.stringify(usage),
            ended_at: now,
            duration_ms: null,
            stdout_bytes: stdout,
            stderr_bytes: stderr,
          },
          { eventsAfter: 0 },
        ),
      ],
    },
  );
}

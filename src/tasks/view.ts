// A task as it is shown: its record, with the outputs of the tool and the text of its streams.
import { OUTPUT_STREAMS, type OutputStream } from '../events/schema.js';
import type { TaskRow } from '../store/schema.js';
import type { ToolRegistry } from '../tools/registry.js';
import { collectBytes, readRange } from './output-bytes.js';
import { shownRanges, shownText } from './outputs.js';
import { taskRecord } from './record.js';
import type { TaskRepository } from './repository.js';
import type { Task } from './schema.js';

export class TaskView {
  readonly #repository: TaskRepository;
  readonly #tools: ToolRegistry;

  constructor(repository: TaskRepository, tools: ToolRegistry) {
    this.#repository = repository;
    this.#tools = tools;
  }

  /** The whole task; outputs once it has ended. */
  async show(row: TaskRow, sessionId: string, queuePosition: number): Promise<Task> {
    if (row.ended_at === null) return taskRecord(row, sessionId, { queuePosition });
    const outputs = JSON.parse(row.outputs ?? '{}') as Record<string, unknown>;
    if (!this.#tools.get(row.tool)?.hasStreams) return taskRecord(row, sessionId, { outputs });
    const streams = await Promise.all(OUTPUT_STREAMS.map((stream) => this.#showStream(row, stream)));
    return taskRecord(row, sessionId, { outputs: Object.assign(outputs, ...streams) });
  }

  async #showStream(row: TaskRow, stream: OutputStream): Promise<Record<string, unknown>> {
    const total = stream === 'stdout' ? row.stdout_bytes : row.stderr_bytes;
    const ranges = shownRanges(total);
    const bytes = await Promise.all(
      ranges.map(({ start, end }) => collectBytes(readRange(this.#repository, row.id, stream, start, end))),
    );
    return {
      [stream]: shownText(bytes, total, `/v1/tasks/${row.task_id}/output/${stream}`),
      [`${stream}Bytes`]: total,
      [`${stream}Truncated`]: ranges.length > 1,
    };
  }
}

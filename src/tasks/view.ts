// A task as it is shown: its record, with the outputs of the tool and the text of its streams.
import { OutputRemoved } from '../errors.js';
import { OUTPUT_STREAMS, type OutputStream } from '../events/schema.js';
import type { TaskRow } from '../store/schema.js';
import type { ToolRegistry } from '../tools/registry.js';
import type { Tool } from '../tools/tool.js';
import type { LiveTask } from './live-task.js';
import { ownOutputs, SHOWN_STREAM_BYTES, shownRanges, shownRest, shownText } from './outputs.js';
import { type QueueFacts, taskRecord } from './record.js';
import type { TaskRepository } from './repository.js';
import type { Task } from './schema.js';
import { StoredOutput } from './stored-output.js';

const bytesOf = (row: TaskRow, stream: OutputStream) =>
  stream === 'stdout' ? row.stdout_bytes : row.stderr_bytes;

function shownStream(row: TaskRow, stream: OutputStream, shown: { text: string; truncated: boolean }) {
  return {
    [stream]: shown.text,
    [`${stream}Bytes`]: bytesOf(row, stream),
    [`${stream}Truncated`]: shown.truncated,
  };
}

/** When retention has removed the outputs of a program, its exit code is still known from its ending. */
function whatIsLeft(row: TaskRow, tool: Tool | undefined): Record<string, unknown> {
  const { exitCode } = JSON.parse(row.ending ?? '{}') as { exitCode?: number };
  return tool?.hasStreams && exitCode !== undefined ? { exitCode } : {};
}

export class TaskView {
  readonly #repository: TaskRepository;
  readonly #tools: ToolRegistry;

  constructor(repository: TaskRepository, tools: ToolRegistry) {
    this.#repository = repository;
    this.#tools = tools;
  }

  /** The whole task; outputs once it has ended. */
  async show(row: TaskRow, sessionId: string, queue: QueueFacts): Promise<Task> {
    if (row.ended_at === null) return taskRecord(row, sessionId, queue);
    const tool = this.#tools.get(row.tool);
    const outputsRemoved = row.outputs === null;
    const given = row.outputs === null ? whatIsLeft(row, tool) : JSON.parse(row.outputs);
    const outputs = ownOutputs(given, tool);
    if (!tool?.hasStreams) return taskRecord(row, sessionId, { outputs, outputsRemoved });
    const streams = await Promise.all(OUTPUT_STREAMS.map((stream) => this.#showStream(row, stream)));
    return taskRecord(row, sessionId, { outputs: Object.assign({ ...outputs }, ...streams), outputsRemoved });
  }

  /** The same from memory, for whoever waited for its end; undefined when only the store has all of it. */
  showEnded({ row, facts, session, tool, printed }: LiveTask): Task | undefined {
    if (row.ended_at === null || (tool.hasStreams && !printed)) return undefined;
    let outputs = ownOutputs(JSON.parse(row.outputs!), tool);
    for (const stream of tool.hasStreams ? OUTPUT_STREAMS : []) {
      const shown = shownStream(row, stream, { text: printed![stream], truncated: false });
      outputs = { ...outputs, ...shown };
    }
    return taskRecord(row, session.row.session_id, { args: facts.arguments, outputs });
  }

  async #showStream(row: TaskRow, stream: OutputStream): Promise<Record<string, unknown>> {
    const total = bytesOf(row, stream);
    const output = new StoredOutput(this.#repository, row, stream);
    const shown = await this.#whole(row, output, stream, total).catch((error: unknown) => {
      if (error instanceof OutputRemoved) return this.#rest(output, error.firstByte, total);
      throw error;
    });
    return shownStream(row, stream, shown);
  }

  async #whole(row: TaskRow, output: StoredOutput, stream: OutputStream, total: number) {
    const ranges = shownRanges(total);
    const bytes = await Promise.all(ranges.map(({ start, end }) => output.collect(start, end)));
    const text = shownText(bytes, total, `/v1/tasks/${row.task_id}/output/${stream}`);
    return { text, truncated: ranges.length > 1 };
  }

  /** What retention has left of a stream, as far as it is shown. Gone meanwhile means that nothing is left. */
  async #rest(output: StoredOutput, firstByte: number, total: number) {
    const start = Math.max(firstByte, total - SHOWN_STREAM_BYTES);
    const bytes = await output.collect(start, total).catch((error: unknown) => {
      if (error instanceof OutputRemoved) return Buffer.alloc(0);
      throw error;
    });
    return { text: shownRest(bytes, firstByte, total), truncated: true };
  }
}

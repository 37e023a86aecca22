// Loaded into the service before its own modules (`node --import`): notes when a task passes each step of its way. For one
// client that submits one task after the other.
import { subscribe } from 'node:diagnostics_channel';
import { Journal } from '../../src/events/journal.js';
import { OutputWriter } from '../../src/events/output.js';
import { ProgramExec } from '../../src/sandbox/program-exec.js';
import { Executor } from '../../src/tasks/executor.js';
import { LiveTask } from '../../src/tasks/live-task.js';
import { Tasks } from '../../src/tasks/service.js';
import type { Marks, Step } from './steps.js';

/** What a step ends, in order; a task without a program skips some. */
const tasks: Marks[] = [];
Object.assign(globalThis, { taskSteps: tasks });

function mark(step: Step): void {
  const current = tasks.at(-1);
  if (current) current[step] ??= performance.now();
}

subscribe('http.server.request.start', () => {
  tasks.push({});
  mark('request');
});
subscribe('http.server.response.finish', () => mark('reply'));
markCalls(Tasks, 'submit', 'submit');
markCalls(Journal, 'append', 'append', 'accepted');
markCalls(Executor, 'execute', 'execute');
markCalls(ProgramExec, 'begin', 'asked');
markCalls(OutputWriter, 'write', 'printed');
markCalls(ProgramExec, 'exited', 'exited');
markCalls(OutputWriter, 'flush', 'tool');
markCalls(LiveTask, 'markDone', 'done');

/** `called` when the method is called; `settled` when what it promises has come. */
function markCalls<T>(
  { prototype }: { readonly prototype: T },
  method: keyof T & string,
  called: Step,
  settled?: Step,
): void {
  const original = prototype[method] as (...given: unknown[]) => unknown;
  const marking = function (this: T, ...given: unknown[]) {
    mark(called);
    const result = original.apply(this, given);
    if (settled) void (result as Promise<unknown>).then(() => mark(settled)).catch(() => {});
    return result;
  };
  Object.assign(prototype as object, { [method]: marking });
}

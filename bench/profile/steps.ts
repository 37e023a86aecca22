// The steps of a task on its way, from its request to its reply, as mark-steps.ts notes them.
import { summarize } from '../row.js';

/** What each step ends, in order; a task without a program skips some. */
const STEPS = {
  request: 'the request has arrived',
  submit: 'HTTP: headers, body, who calls, validation',
  append: 'tasks: the session, room in the queues, the row',
  accepted: 'store: the task and `task.queued` are on disk',
  execute: 'lane: its turn and its place',
  asked: 'sandbox: a process that waits has its request on the way',
  printed: 'the program runs; its first output has come',
  exited: 'the program has ended, all of it is gone, and the agent says so',
  tool: 'sandbox: usage of its control group',
  done: 'store: output, `task.started` and `task.ended` are on disk',
  reply: 'HTTP: the reply is written',
} as const;

export type Step = keyof typeof STEPS;
export type Marks = Partial<Record<Step, number>>;

/** Lines of a table: what a step ends, and how many microseconds it took. */
export function stepRows(tasks: readonly Marks[]): string[] {
  const steps = (Object.keys(STEPS) as Step[]).filter((step) =>
    tasks.every((marks) => marks[step] !== undefined),
  );
  return steps.slice(1).map((step, index) => {
    const took = tasks.map((marks) => (marks[step]! - marks[steps[index]!]!) * 1000);
    const { median, p95 } = summarize(took);
    return `| ${STEPS[step]} | ${Math.round(median)} | ${Math.round(p95)} |`;
  });
}

// What the journal of a session must be, whatever happened meanwhile: the documented machine of sessions and tasks,
// numbered without holes. Pure, so that every test that has a journal can ask.
import type { Event } from '../../src/events/schema.js';
import type { SessionState } from '../../src/sessions/schema.js';
import { statusOf } from '../../src/tasks/schema.js';

const NEXT_STATES: Record<string, readonly string[]> = {
  null: ['creating'],
  creating: ['ready'],
  ready: ['active', 'checkpointing', 'terminating', 'failed'],
  active: ['ready', 'checkpointing', 'terminating', 'failed'],
  checkpointing: ['ready', 'active', 'terminating', 'failed'],
  // Back when its last checkpoint could not be taken.
  terminating: ['terminated', 'ready', 'active', 'failed'],
  terminated: [],
  failed: [],
};

interface TaskSoFar {
  isStarted: boolean;
  isEnded: boolean;
  readonly bytes: { stdout: number; stderr: number };
}

/** The rules that this journal, whole and from its beginning, breaks; in words. */
export function brokenRules(events: readonly Event[]): string[] {
  const broken: string[] = [];
  const tasks = new Map<string, TaskSoFar>();
  let state: SessionState | null = null;
  for (const [index, event] of events.entries()) {
    const complain = (rule: string) => broken.push(`${rule}: ${JSON.stringify(event)}`);
    if (event.seq !== index + 1) complain(`numbered without holes, this is the event number ${index + 1}`);
    if (state === 'terminated' || state === 'failed') complain(`nothing follows ${state}`);
    if (event.type === 'session.state') {
      const { from, to } = event.data;
      if (from !== state) complain(`a state follows from the one before, ${state}`);
      if (!NEXT_STATES[String(from)]!.includes(to)) complain('the machine has this transition');
      state = to;
    }
    if ('taskId' in event) followTask(tasks, event, complain);
  }
  const isOver = state === 'terminated' || state === 'failed';
  for (const [taskId, { isEnded }] of tasks) {
    if (isOver && !isEnded) broken.push(`a session that is over has no task without an end: ${taskId}`);
  }
  return broken;
}

type TaskEvent = Extract<Event, { taskId: string }>;

function followTask(tasks: Map<string, TaskSoFar>, event: TaskEvent, complain: (rule: string) => void): void {
  const { taskId } = event;
  const task = tasks.get(taskId);
  if (!task) {
    if (event.type !== 'task.queued') complain('a task begins with task.queued');
    tasks.set(taskId, { isStarted: false, isEnded: false, bytes: { stdout: 0, stderr: 0 } });
    return;
  }
  if (task.isEnded) complain('task.ended is the last of its task');
  if (event.type === 'task.queued') complain('a task is queued once');
  if (event.type === 'task.started') {
    if (task.isStarted) complain('a task starts once');
    task.isStarted = true;
  }
  if (event.type === 'task.output' || event.type === 'task.progress') {
    if (!task.isStarted) complain('a task says something after its start');
  }
  if (event.type === 'task.output') {
    const { stream, offset, length } = event.data;
    if (offset !== task.bytes[stream])
      complain(`output has no holes, ${task.bytes[stream]} bytes came before`);
    task.bytes[stream] = offset + length;
  }
  if (event.type === 'task.ended') {
    task.isEnded = true;
    const { ending, status, usage } = event.data;
    if (status !== statusOf(ending)) complain('the status follows from the cause');
    const { stdout, stderr } = task.bytes;
    if (usage.outputBytes !== stdout + stderr)
      complain(`all output came before the end, ${stdout + stderr} bytes`);
    if (!task.isStarted && !['cancelled', 'sessionEnded'].includes(ending.cause)) {
      complain('a task that never started ends because it was called off');
    }
  }
}

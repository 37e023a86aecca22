// The state of a session is derived from what is true of it, so that two things going on at once cannot overwrite each
// other's word for it.
import type { SessionState } from './schema.js';

export interface SessionFacts {
  readonly terminating: boolean;
  readonly checkpointing: boolean;
  readonly runningTasks: number;
}

export function stateOf(facts: SessionFacts): SessionState {
  if (facts.terminating) return 'terminating';
  if (facts.checkpointing) return 'checkpointing';
  return facts.runningTasks > 0 ? 'active' : 'ready';
}

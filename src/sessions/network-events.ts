// What a session's sandbox reached and was refused, as events of the session.
import type { Journal } from '../events/journal.js';
import type { Logger } from '../observability/logger.js';
import type { EgressDecision } from '../sandbox/sandbox.js';
import type { SessionRow } from '../store/schema.js';

/** Takes the decisions of one session's sandbox; one that cannot be stored stands in the log. */
export function networkEvents(
  row: SessionRow,
  journal: Journal,
  log: Logger,
): (decision: EgressDecision) => void {
  const session = { id: row.id, sessionId: row.session_id };
  return ({ allowed, host, port, reason, count }) => {
    const data = { allowed, host, port, reason, count };
    journal.append(session, [{ type: 'session.network', data }]).catch((error: unknown) => {
      log.warn({ err: error, sessionId: session.sessionId, ...data }, 'network event was not stored');
    });
  };
}

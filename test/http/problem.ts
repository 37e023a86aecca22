import { pino } from 'pino';
import t, { type Test } from 'tap';
import {
  CapacityExceeded,
  IsolationUnavailable,
  KillPending,
  PublicError,
  SessionNotFound,
  StoreUnavailable,
} from '../../src/errors.js';
import { ERROR_EXAMPLES } from '../../src/http/error-examples.js';
import { problemDocument } from '../../src/http/problem.js';
import { buildServer } from '../../src/http/server.js';

/** A server whose only route throws this, and what it logged. */
function throwing(t: Test, error: unknown) {
  const lines: string[] = [];
  const log = pino({ level: 'warn' }, { write: (line: string) => lines.push(line) });
  const app = buildServer({ jsonBodyBytes: 1024, log });
  app.get('/', async () => {
    throw error;
  });
  t.teardown(() => app.close());
  return { reply: () => app.inject('/'), lines };
}

t.test('a public error keeps its code, status, words and next step', async (t) => {
  const { reply } = throwing(t, new SessionNotFound('ses_x'));
  const answer = await reply();
  t.equal(answer.headers['content-type'], 'application/problem+json');
  t.match(answer.json(), {
    type: 'urn:codegen-worker:problem:SESSION_NOT_FOUND',
    title: 'Session not found',
    status: 404,
    detail: 'There is no session "ses_x".',
    code: 'SESSION_NOT_FOUND',
    retryable: false,
    outcome: 'notStarted',
    suggestion: /GET \/v1\/sessions/,
    requestId: answer.headers['x-request-id'],
    errors: [],
  });
});

t.test('what may be tried again says when', async (t) => {
  t.equal((await throwing(t, new CapacityExceeded(50)).reply()).headers['retry-after'], '5');
  t.equal((await throwing(t, new SessionNotFound('x')).reply()).headers['retry-after'], undefined);
  t.equal((await throwing(t, new IsolationUnavailable('a', 'b')).reply()).headers['retry-after'], undefined);
  const soon = new PublicError('TOO_MANY_TASKS', 'x', { retryAfterSeconds: 0.2 });
  t.equal((await throwing(t, soon).reply()).headers['retry-after'], '1');
});

t.test('an unexpected error shows nothing of itself, and the log has all of it', async (t) => {
  const { reply, lines } = throwing(t, new Error('password=hunter2 at /srv/secret'));
  const answer = await reply();
  t.match(answer.json(), { status: 500, code: 'INTERNAL', outcome: 'unknown', retryable: false });
  t.notMatch(answer.payload, /hunter2|secret/);
  t.equal(lines.length, 1);
  t.match(JSON.parse(lines[0]!), {
    msg: 'request failed',
    requestId: answer.json().requestId,
    err: { message: /hunter2/, stack: /problem\.[tj]s/ },
  });
});

t.test('what was thrown may be anything', async (t) => {
  for (const thrown of [undefined, null, 'text', 5, {}, { statusCode: 200 }, { statusCode: 404 }]) {
    t.equal((await throwing(t, thrown).reply()).statusCode, 500, JSON.stringify(thrown));
  }
});

t.test('the cause of a public error of ours goes to the log and not to the caller', async (t) => {
  const { reply, lines } = throwing(t, new StoreUnavailable(new Error('SQLITE_IOERR /srv/data')));
  const answer = await reply();
  t.equal(answer.statusCode, 503);
  t.notMatch(answer.payload, /SQLITE|srv/);
  t.match(lines.join(''), /SQLITE_IOERR/);
});

t.test('further members of a problem stand beside its own and cannot replace them', async (t) => {
  const error = new PublicError('KILL_PENDING', 'x', {
    extensions: { task: { taskId: 't' }, code: 'OTHER' },
  });
  t.match(problemDocument(error, 'r'), { code: 'KILL_PENDING', task: { taskId: 't' } });
});

t.test('every error names a next step in its example', async (t) => {
  for (const [code, error] of Object.entries(ERROR_EXAMPLES)) {
    t.equal(error.code, code);
    t.ok(error.suggestion && error.message.length > 10, code);
  }
  t.equal(ERROR_EXAMPLES.KILL_PENDING instanceof KillPending, true);
});

t.test('a full disk is a 507, whoever ran into it', async (t) => {
  for (const code of ['ENOSPC', 'EDQUOT']) {
    const { reply } = throwing(t, Object.assign(new Error('no space left on device'), { code }));
    const answer = await reply();
    t.match(answer, { statusCode: 507, headers: { 'retry-after': '10' } });
    t.match(answer.json(), { code: 'OUT_OF_DISK', outcome: 'notStarted', retryable: true });
  }
});

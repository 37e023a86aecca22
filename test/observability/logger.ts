import { PassThrough } from 'node:stream';
import t from 'tap';
import { createLogger } from '../../src/observability/logger.js';

function logging(format: 'auto' | 'json' | 'pretty', isTTY = false) {
  const stream = Object.assign(new PassThrough({ encoding: 'utf8' }), { isTTY });
  const lines: string[] = [];
  stream.on('data', (chunk: string) => lines.push(chunk));
  return { log: createLogger({ level: 'info', format, stream }), text: () => lines.join(''), stream };
}

t.test('without a terminal a line is JSON with level, time and message', async (t) => {
  const { log, text } = logging('auto');
  log.info({ taskId: 'tsk_1' }, 'task finished');
  log.debug('not wanted');
  const line = JSON.parse(text());
  t.match(line, { level: 'info', msg: 'task finished', taskId: 'tsk_1', time: /^\d{4}-\d\d-\d\dT.*Z$/ });
});

t.test('on a terminal it is written for people', async (t) => {
  for (const [format, isTTY] of [
    ['auto', true],
    ['pretty', false],
  ] as const) {
    const { log, text, stream } = logging(format, isTTY);
    const written = new Promise((resolve) => stream.once('data', resolve));
    log.info({ taskId: 'tsk_1' }, 'task finished');
    await written;
    t.match(text(), /INFO.*task finished/);
    t.throws(() => JSON.parse(text()));
  }
});

t.test('an authorization header never reaches the log', async (t) => {
  const { log, text } = logging('json');
  const headers = { authorization: 'Bearer hunter2', host: 'localhost' };
  log.info({ headers }, 'one');
  log.info({ req: { headers } }, 'two');
  log.info({ authorization: 'Bearer hunter2' }, 'three');
  log.child({ headers }).info('four');
  t.notMatch(text(), /hunter2/);
  t.match(text(), /localhost/);
});

// HEAD on every route that has a GET.
import t from 'tap';
import { startService } from '../helpers/world.js';

t.test('HEAD answers what GET would, without a body, or is a 405; it takes no reader’s place', async (t) => {
  const world = await startService(t, { MAX_SOCKETS: '1' });
  const { sessionId } = await world.session();
  const { taskId } = await world.run(sessionId, 'echo', { message: 'hello' });
  const { body: made } = await world.call('POST', `/v1/sessions/${sessionId}/checkpoints`, {});
  const names: Record<string, string> = {
    sessionId,
    taskId,
    checkpointId: String(made.checkpointId),
    toolName: 'echo',
    stream: 'stdout',
  };
  const { body: document } = await world.call<{ paths: Record<string, Record<string, unknown>> }>(
    'GET',
    '/openapi.json',
  );
  const paths = Object.keys(document.paths).filter((path) => document.paths[path]!.get);
  t.ok(paths.length > 12);
  const refused = [];
  for (const path of paths) {
    const url = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => names[name] ?? 'unknown');
    const accept = path.endsWith('/events') ? 'text/event-stream' : '*/*';
    const { status, headers } = await fetch(world.url + url, { method: 'HEAD', headers: { accept } });
    if (status === 405) {
      refused.push(path);
      t.match(headers.get('allow'), /\bGET\b/, path);
      t.notMatch(headers.get('allow'), /HEAD/, path);
    } else {
      const { status: got, headers: shown } = await world.call('GET', url);
      t.equal(status, got, path);
      t.equal(headers.get('content-type'), shown.get('content-type'), path);
    }
  }
  const costly = paths.filter((path) => /\/(events|events\/stream|archive|output\/\{stream\})$/.test(path));
  t.same(refused, costly, 'the ones that would read much, or wait, to send nothing');
  const stream = await fetch(`${world.url}/v1/sessions/${sessionId}/events`, {
    headers: { accept: 'text/event-stream' },
  });
  t.equal(stream.status, 200, 'the one place is free');
  t.match((await world.call('GET', '/metrics')).body, /^codegen_worker_sockets 1$/m, 'and now it is taken');
  await stream.body?.cancel();
});

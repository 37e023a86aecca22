import t from 'tap';
import { startService } from '../helpers/world.js';

const METHODS = ['get', 'put', 'post', 'patch', 'delete'];

// Checks are compiled when they are first wanted, so a schema that strict mode refuses would show with a request.
t.test('every route checks what it is sent: a wrong request finds no broken schema', async (t) => {
  const world = await startService(t);
  const { body: document } = await world.call<{ paths: Record<string, Record<string, unknown>> }>(
    'GET',
    '/openapi.json',
  );
  const operations = Object.entries(document.paths).flatMap(([path, item]) =>
    METHODS.filter((method) => item[method]).map((method) => ({ method, path })),
  );
  t.ok(operations.length > 20);
  for (const { method, path } of operations) {
    const url = `${path.replaceAll(/\{\w+\}/g, 'not-there')}?limit=1`;
    const { status } = await world.call(method.toUpperCase(), url, method === 'get' ? undefined : {});
    t.ok(status < 500, `${method} ${path}: ${status}`);
  }
});

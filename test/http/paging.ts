import t from 'tap';
import { listQuery, listRequest, toPage } from '../../src/http/paging.js';
import { startService } from '../helpers/world.js';

const id = 'ses_06g4k2m8s5t7v9x1z3b5d7f9h1';

t.test('a query without anything asks for the first page of the default size', async (t) => {
  t.same(listRequest({}), { limit: 50, metadata: [], values: {} });
});

t.test('filters are lists, labels are pairs, times are milliseconds', async (t) => {
  const request = listRequest({
    limit: 5,
    createdAfter: '2026-01-01T00:00:00Z',
    status: 'queued,running',
    'metadata.team': 'a,b',
    'metadata.metadata.x': '1',
  });
  t.same(request, {
    limit: 5,
    createdAfter: Date.UTC(2026, 0, 1),
    metadata: [
      { key: 'team', value: 'a,b' },
      { key: 'metadata.x', value: '1' },
    ],
    values: { status: ['queued', 'running'] },
  });
});

t.test('a page names where the next begins, and that cursor leads there', async (t) => {
  const page = toPage({ items: ['a', 'b'], next: { created_at: 123, id } });
  t.same(listRequest({ cursor: page.nextCursor }).before, { createdAt: 123, id });
  t.equal(toPage({ items: ['a'], next: undefined }).nextCursor, null);
});

for (const cursor of [
  '',
  'nonsense',
  Buffer.from(`1.${id}' or 1=1`).toString('base64url'),
  Buffer.from('x.y').toString('base64url'),
]) {
  t.test(`the cursor ${JSON.stringify(cursor)} is refused`, async (t) => {
    t.throws(() => listRequest({ cursor }), {
      code: 'VALIDATION_FAILED',
      errors: [{ where: '/query/cursor' }],
    });
  });
}

t.test('a filter takes its own values and no others', async (t) => {
  const { tool } = listQuery({ tool: ['fs.read', 'echo'] }).properties as Record<
    string,
    { pattern?: string }
  >;
  const matches = (text: string) => new RegExp(tool!.pattern!, 'u').test(text);
  t.ok(matches('echo') && matches('fs.read,echo'));
  t.notOk(matches('fsxread') || matches('echo,') || matches('') || matches('echo,other'));
});

t.test('a time that JavaScript does not know is refused, not taken for never', async (t) => {
  t.throws(() => listRequest({ createdAfter: '2026-06-30T23:59:60Z' }), {
    code: 'VALIDATION_FAILED',
    errors: [{ where: '/query/createdAfter', given: '2026-06-30T23:59:60Z' }],
  });
});

t.test('labels are found by their keys, whatever these are made of', async (t) => {
  const world = await startService(t);
  const keys = [
    '$',
    '$foo',
    '$.plain',
    'plain',
    '1',
    '2024',
    '[0]',
    'a"b',
    "a'b",
    'back\\slash',
    'new\nline',
    'a.b',
    '#',
    'ü',
    '__proto',
    '%',
    '?',
  ];
  const created = new Map<string, string>();
  for (const key of keys) {
    const { sessionId } = await world.session({ metadata: { [key]: 'yes' } });
    created.set(key, sessionId);
    await world.run(sessionId, 'echo', { message: 'm' }, { metadata: { [key]: 'task' } });
  }
  for (const [key, sessionId] of created) {
    const name = encodeURIComponent(key);
    const found = await world.call<{ items: { sessionId: string }[] }>(
      'GET',
      `/v1/sessions?metadata.${name}=yes`,
    );
    t.same(
      found.body.items?.map((item) => item.sessionId),
      [sessionId],
      `sessions with ${JSON.stringify(key)}`,
    );
    const tasks = await world.call<{ items: unknown[] }>(
      'GET',
      `/v1/sessions/${sessionId}/tasks?metadata.${name}=task`,
    );
    t.equal(tasks.body.items?.length, 1, `tasks with ${JSON.stringify(key)}`);
  }
});

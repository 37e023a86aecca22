import Fastify from 'fastify';
import t from 'tap';
import { byteRange } from '../../src/http/range.js';

const BYTES = Buffer.from('0123456789');

async function ask(range?: string) {
  const app = Fastify();
  app.get('/', (request, reply) => {
    const { start, end } = byteRange(request.headers.range, BYTES.length, reply);
    return reply.send(BYTES.subarray(start, end));
  });
  const reply = await app.inject({ url: '/', headers: range === undefined ? {} : { range } });
  await app.close();
  return { status: reply.statusCode, range: reply.headers['content-range'], body: reply.body };
}

const cases: [string | undefined, number, string | undefined, string][] = [
  [undefined, 200, undefined, '0123456789'],
  ['bytes=0-0', 206, 'bytes 0-0/10', '0'],
  ['bytes=2-4', 206, 'bytes 2-4/10', '234'],
  ['bytes=8-', 206, 'bytes 8-9/10', '89'],
  ['bytes=8-100', 206, 'bytes 8-9/10', '89'],
  ['bytes=-3', 206, 'bytes 7-9/10', '789'],
  ['bytes=-100', 206, 'bytes 0-9/10', '0123456789'],
  ['bytes=0-1,4-5', 200, undefined, '0123456789'],
  ['bytes=5-2', 200, undefined, '0123456789'],
  ['bytes=-', 200, undefined, '0123456789'],
  ['lines=1-2', 200, undefined, '0123456789'],
];

for (const [asked, status, range, body] of cases) {
  t.test(`"${asked ?? 'no range'}" answers ${status} with "${body}"`, async (t) => {
    t.same(await ask(asked), { status, range, body });
  });
}

for (const asked of ['bytes=10-', 'bytes=99-100', 'bytes=-0']) {
  t.test(`"${asked}" lies outside and is refused with the size there is`, async (t) => {
    t.match(await ask(asked), { status: 416, range: 'bytes */10' });
  });
}

import { once } from 'node:events';
import type { Socket } from 'node:net';
import t, { type Test } from 'tap';
import { openRaw } from '../helpers/raw-http.js';
import { startService, until } from '../helpers/world.js';

const KIB = 1024;
const SETTINGS = { MAX_BODY_BYTES_IN_FLIGHT: String(KIB * KIB), JSON_BODY_BYTES: String(512 * KIB) };

function clientsOf(t: Test, url: string) {
  const host = new URL(url).host;
  const open = async () => {
    const socket = openRaw(url);
    t.teardown(() => socket.destroy());
    await once(socket, 'connect');
    return socket;
  };
  const head = (how: string) =>
    `POST /v1/sessions HTTP/1.1\r\nHost: ${host}\r\nContent-Type: application/json\r\n${how}\r\n\r\n`;
  const reply = async (socket: Socket) => String((await once(socket, 'data'))[0]);
  return {
    reply,
    /** Sends so much of a body that goes on. */
    async hold(bytes: number) {
      const socket = await open();
      socket.write(head(`Content-Length: ${512 * KIB}`) + ' '.repeat(bytes));
      return socket;
    },
    /** Sends a body in many chunks at once, without its end. */
    async chunked(bytes: number) {
      const socket = await open();
      const chunk = `${KIB.toString(16)}\r\n${' '.repeat(KIB)}\r\n`;
      socket.write(head('Transfer-Encoding: chunked') + chunk.repeat(bytes / KIB));
      return reply(socket);
    },
  };
}

t.test('of bodies that are too many together one is refused, and room comes back', async (t) => {
  const world = await startService(t, SETTINGS);
  const { hold, reply } = clientsOf(t, world.url);
  // Two of them have room; which one is too many is for the service to say.
  const held = [await hold(480 * KIB), await hold(480 * KIB), await hold(480 * KIB)];
  t.match(await Promise.any(held.map(reply)), /^HTTP\/1\.1 503 .*CAPACITY_EXCEEDED/s);
  t.equal((await world.call('POST', '/v1/sessions', {})).status, 201, 'a small one has room');
  for (const socket of held) socket.destroy();
  const large = { sessionId: 'x'.repeat(400 * KIB) };
  await until(async () => (await world.call('POST', '/v1/sessions', large)).status === 400);
});

t.test('what still comes of a body that was refused for its length harms nobody', async (t) => {
  const world = await startService(t, SETTINGS);
  const { hold, chunked } = clientsOf(t, world.url);
  for (let round = 0; round < 10; round += 1) {
    // With what is refused for its length, and a little more, it has all of the room.
    const other = await hold(508 * KIB);
    t.match(await chunked(800 * KIB), /^HTTP\/1\.1 (413|503) /);
    other.destroy();
  }
  t.equal((await world.call('GET', '/healthz')).status, 200);
});

// WebSockets as no browser uses them: frames by hand, floods, and upgrades that lead nowhere.
import { once } from 'node:events';
import type { Socket } from 'node:net';
import t from 'tap';
import { WebSocket } from 'ws';
import { openSocket } from '../helpers/event-client.js';
import { residentBytes } from '../helpers/processes.js';
import { openRaw } from '../helpers/raw-http.js';
import { startService } from '../helpers/world.js';

const MIB = 1024 * 1024;
const MASK = Buffer.from([1, 2, 3, 4]);

interface FrameOptions {
  readonly opcode: number;
  readonly isLast?: boolean;
  readonly isMasked?: boolean;
  readonly reserved?: number;
  /** What the header says, when that is not the truth. */
  readonly claimed?: bigint;
}

/** One frame of a client, right or wrong. */
function frame(
  payload: Buffer,
  { opcode, isLast = true, isMasked = true, reserved = 0, claimed }: FrameOptions,
): Buffer {
  const head = Buffer.alloc(10);
  head[0] = (isLast ? 0x80 : 0) | (reserved << 4) | opcode;
  head[1] = (isMasked ? 0x80 : 0) | 127;
  head.writeBigUInt64BE(claimed ?? BigInt(payload.length), 2);
  if (!isMasked) return Buffer.concat([head, payload]);
  return Buffer.concat([head, MASK, payload.map((byte, index) => byte ^ MASK[index % 4]!)]);
}

t.test('sockets that are abused are closed, and nothing else is', async (t) => {
  const world = await startService(t);
  const { sessionId } = await world.session();
  const base = world.url.replace('http', 'ws');
  const events = `/v1/sessions/${sessionId}/events`;

  async function upgraded(path: string, extra = ''): Promise<Socket> {
    const socket = openRaw(world.url);
    t.teardown(() => socket.destroy());
    socket.write(
      `GET ${path} HTTP/1.1\r\nHost: ${new URL(world.url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n${extra}\r\n`,
    );
    await once(socket, 'data');
    return socket;
  }
  /** The code of the close frame that comes, or 0 when the connection just ends. */
  async function closeCode(socket: Socket): Promise<number> {
    let said = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      said = Buffer.concat([said, chunk]);
    });
    await once(socket, 'close');
    const at = said.lastIndexOf(0x88);
    return at >= 0 && said.length >= at + 4 ? said.readUInt16BE(at + 2) : 0;
  }
  const isFine = async () => (await world.run(sessionId, 'echo', { message: 'fine' })).status === 'success';

  for (const [attack, bytes, code] of [
    ['unmasked', frame(Buffer.from('{}'), { opcode: 1, isMasked: false }), 1002],
    ['reserved-bits', frame(Buffer.from('{}'), { opcode: 1, reserved: 7 }), 1002],
    ['reserved-opcode', frame(Buffer.from('{}'), { opcode: 3 }), 1002],
    ['compressed-without-asking', frame(Buffer.from([0xca, 0x48]), { opcode: 1, reserved: 4 }), 1002],
    ['no-utf8', frame(Buffer.from([0xff, 0xfe]), { opcode: 1 }), 1007],
    ['longer-than-all-memory', frame(Buffer.from('x'), { opcode: 1, claimed: 1n << 62n }), 1009],
    ['longer-than-allowed', frame(Buffer.from('x'), { opcode: 1, claimed: 1n << 30n }), 1009],
    ['continuation-of-nothing', frame(Buffer.from('x'), { opcode: 0 }), 1002],
    ['fragmented-ping', frame(Buffer.from('x'), { opcode: 9, isLast: false }), 1002],
    ['ping-that-is-too-long', frame(Buffer.alloc(126), { opcode: 9 }), 1002],
    ['close-with-half-a-code', frame(Buffer.from([3]), { opcode: 8 }), 1002],
    ['close-with-a-reserved-code', frame(Buffer.from([0x03, 0xed]), { opcode: 8 }), 1002],
    [
      'fragments-beyond-all-bounds',
      Buffer.concat([
        frame(Buffer.alloc(MIB / 2), { opcode: 2, isLast: false }),
        frame(Buffer.alloc(MIB / 2), { opcode: 0, isLast: false }),
        frame(Buffer.alloc(1), { opcode: 0, isLast: false }),
      ]),
      1009,
    ],
  ] as const) {
    await t.test(attack, async (t) => {
      const socket = await upgraded(events);
      const closed = closeCode(socket);
      socket.write(bytes);
      t.equal(await closed, code);
      t.ok(await isFine());
    });
  }

  await t.test('empty-fragments-without-end: cost no memory, or the connection', async (t) => {
    const socket = await upgraded(events);
    const before = residentBytes(process.pid);
    socket.write(frame(Buffer.alloc(0), { opcode: 1, isLast: false }));
    const empty = frame(Buffer.alloc(0), { opcode: 0, isLast: false });
    for (let sent = 0; sent < 20 && !socket.destroyed; sent += 1) {
      const some = Buffer.concat(Array.from({ length: 10_000 }, () => empty));
      if (!socket.write(some)) await Promise.race([once(socket, 'drain'), once(socket, 'close')]);
    }
    t.ok(await isFine());
    t.ok(residentBytes(process.pid) - before < 200 * MIB);
    socket.destroy();
  });

  await t.test('ping-flood: is answered or cut, and delays nobody', async (t) => {
    const socket = await upgraded(events);
    socket.pause();
    const ping = frame(Buffer.alloc(125), { opcode: 9 });
    const before = residentBytes(process.pid);
    const flood = Buffer.concat(Array.from({ length: 10_000 }, () => ping));
    for (let round = 0; round < 5; round += 1) socket.write(flood);
    t.ok(await isFine());
    t.ok(residentBytes(process.pid) - before < 200 * MIB);
    socket.destroy();
  });

  await t.test('binary-garbage: each message is answered with a problem, and the socket stays', async (t) => {
    const client = openSocket(t, base + events);
    await client.message('stream.head');
    for (const bytes of [Buffer.alloc(0), Buffer.from([0, 255]), Buffer.from('{"op":"cancel"}')])
      client.socket.send(bytes);
    for (const text of [
      '',
      'null',
      '[]',
      '"op"',
      '{"op":"__proto__"}',
      '{"op":"constructor"}',
      '{"op":["cancel"]}',
      `{"op":${'['.repeat(100_000)}`,
    ]) {
      client.send(text);
    }
    const problems = () => client.messages.filter((message) => message.includes('"stream.error"')).length;
    while (problems() < 11) await once(client.socket, 'message');
    t.equal(client.socket.readyState, WebSocket.OPEN);
    t.ok(client.messages.every((message) => message.length < 20_000));
  });

  await t.test('thousands-of-subscriptions: bounded, and the dashboard goes on', async (t) => {
    const client = openSocket(t, `${base}/v1/events`);
    await once(client.socket, 'open');
    for (let n = 0; n < 3000; n += 1)
      client.send({ op: 'subscribe', sessionId: n % 2 ? sessionId : `nobody-${n}` });
    while (client.messages.filter((message) => message.includes('SESSION_NOT_FOUND')).length < 1500) {
      await once(client.socket, 'message');
    }
    const before = client.messages.length;
    client.send({ op: 'subscribe', all: true });
    await world.run(sessionId, 'echo', { message: 'after the flood' });
    while (!client.messages.slice(before).some((message) => message.includes('after the flood'))) {
      await once(client.socket, 'message');
    }
    t.equal(client.socket.readyState, WebSocket.OPEN);
  });

  await t.test('upgrades-that-lead-nowhere: are refused in words', async (t) => {
    for (const [path, method, extra] of [
      ['/v1/nowhere', 'GET', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
      [events, 'GET', 'Sec-WebSocket-Key: short'],
      [events, 'GET', 'X-A: no key'],
      [`${events}?after=-1`, 'GET', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
      [`${events}?after[__proto__]=1`, 'GET', 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='],
    ] as const) {
      const socket = openRaw(world.url);
      socket.setEncoding('latin1');
      let said = '';
      socket.on('data', (chunk) => {
        said += chunk;
      });
      socket.write(
        `${method} ${path} HTTP/1.1\r\nHost: ${new URL(world.url).host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n${extra}\r\n\r\n`,
      );
      await once(socket, 'close');
      t.match(said, /^HTTP\/1\.1 4\d\d /, `${method} ${path} ${extra}: ${said.slice(0, 200)}`);
    }
    t.ok(await isFine());
  });

  await t.test(
    'ten-thousand-bad-messages: in one write, others are answered and the socket is closed',
    async (t) => {
      // The shortest frame there is: an empty text, masked.
      const empty = Buffer.from([0x81, 0x80, ...MASK]);
      const flood = Buffer.concat(Array.from({ length: 10_000 }, () => empty));
      const sockets = await Promise.all(Array.from({ length: 5 }, () => upgraded(events)));
      const codes = sockets.map(closeCode);
      for (const socket of sockets) socket.write(flood);
      t.ok(await isFine());
      t.same(await Promise.all(codes), [1008, 1008, 1008, 1008, 1008]);
    },
  );

  await t.test('half-upgrades: hundreds that never finish hold up nobody', async (t) => {
    const open = Array.from({ length: 200 }, () => {
      const socket = openRaw(world.url);
      socket.write(`GET ${events} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: webso`);
      return socket;
    });
    t.ok(await isFine());
    for (const socket of open) socket.destroy();
  });
});

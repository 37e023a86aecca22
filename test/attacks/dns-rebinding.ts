// A name of the attacker's, with a name server of the attacker's: a public address when it is checked, a private one
// when it is used. The proxy asks once and connects to what it was told, so the second answer finds nobody asking.
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { pino } from 'pino';
import t from 'tap';
import { EgressProxy } from '../../src/sandbox/egress.js';
import { EGRESS_LIMITS, EgressBudget } from '../../src/sandbox/egress-budget.js';
import type { SingleDecision } from '../../src/sandbox/egress-decisions.js';

t.test('a name that is public when checked and private when used', async (t) => {
  const asked: string[] = [];
  const inside = createServer((_request, response) => response.end('private'));
  inside.on('connection', () => asked.push('connected'));
  await new Promise<void>((resolve) => inside.listen(0, '127.0.0.1', resolve));
  t.teardown(() => inside.close());
  const { port } = inside.address() as AddressInfo;

  const directory = mkdtempSync(join(tmpdir(), 'egress-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const socketPath = join(directory, 'egress.sock');
  // In the order in which they are given out. Public by its range, and given to nobody yet.
  const answers = [['2d00::1'], ['127.0.0.1'], ['2d00::1', '::ffff:127.0.0.1'], ['127.0.0.1']];
  let looked = 0;
  const decisions: SingleDecision[] = [];
  const proxy = new EgressProxy({
    socketPath,
    policy: { allow: [`*.attacker.example:${port}`], mayBePrivate: [] },
    log: pino({ level: 'silent' }),
    budget: new EgressBudget({ ...EGRESS_LIMITS, connectMs: 100 }),
    onDecision: (decision) => decisions.push(decision),
    lookUp: async () => {
      looked += 1;
      return answers[looked - 1]!;
    },
  });
  await proxy.start();
  t.teardown(() => proxy.close());

  const status = async (request: string) => {
    const socket = connect(socketPath);
    socket.write(request);
    return Number(/^HTTP\/1\.1 (\d+)/.exec(String(await buffer(socket)))?.[1]);
  };
  const get = `GET http://a.attacker.example:${port}/ HTTP/1.1\r\nHost: x\r\n\r\n`;
  const tunnel = `CONNECT a.attacker.example:${port} HTTP/1.1\r\n\r\n`;
  t.same(
    [await status(get), await status(get), await status(tunnel), await status(tunnel)],
    [502, 403, 502, 403],
    'nobody answers at the public address, and the private one is refused',
  );
  t.equal(looked, 4, 'once for each request');
  t.same(asked, [], 'the private address was never connected to');
  t.same(
    decisions.map(({ allowed }) => allowed),
    [true, false, true, false],
  );
});

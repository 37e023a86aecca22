import { connect } from 'node:net';
import { pino } from 'pino';
import t from 'tap';
import { listen, listeningOn } from '../../src/http/listen.js';
import { buildServer } from '../../src/http/server.js';

const build = () => {
  const app = buildServer({ jsonBodyBytes: 1000, log: pino({ level: 'silent' }) });
  app.get('/', async () => ({}));
  return app;
};
// Every address of 127/8 is this host's; ::1 may be missing.
const both = async () => [{ address: '127.0.0.1' }, { address: '127.0.0.2' }, { address: '192.0.2.1' }];

t.test('localhost is every address of that name, with one server behind them', async (t) => {
  const app = build();
  const url = await listen(app, { host: 'localhost', port: 0 }, both);
  const { port } = new URL(url);
  t.same(listeningOn(app), [`127.0.0.1:${port}`, `127.0.0.2:${port}`]);
  for (const host of ['127.0.0.1', '127.0.0.2'])
    t.equal((await fetch(`http://${host}:${port}/`)).status, 200, host);
  // One that is open and says nothing does not hold up the end.
  const idle = connect(Number(port), '127.0.0.2');
  await new Promise((resolve) => idle.once('connect', resolve));
  const closed = new Promise((resolve) => idle.once('close', resolve));
  idle.on('error', () => {});
  await app.close();
  idle.destroy();
  await closed;
  await t.rejects(fetch(`http://127.0.0.2:${port}/`));
});

t.test('another host is that address alone', async (t) => {
  const app = build();
  t.teardown(() => app.close());
  t.same(listeningOn(app), []);
  const { port } = new URL(await listen(app, { host: '127.0.0.2', port: 0 }, both));
  t.same(listeningOn(app), [`127.0.0.2:${port}`]);
  await t.rejects(fetch(`http://127.0.0.1:${port}/`));
});

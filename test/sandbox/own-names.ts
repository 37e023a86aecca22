// A server of the session's own is reached past the proxy, under every name that it has there.
import { existsSync } from 'node:fs';
import t from 'tap';
import { run, sandboxSpec, startDriver } from '../helpers/sandboxes.js';

const SERVE = `
import socket, subprocess, sys, threading
class Server:
    def __init__(self):
        self.socket = socket.create_server(('::', 0), family=socket.AF_INET6, dualstack_ipv6=True)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()
    def serve(self):
        while True:
            connection, _ = self.socket.accept()
            connection.recv(65536)
            connection.sendall(b'HTTP/1.1 200 OK\\r\\ncontent-length: 4\\r\\nconnection: close\\r\\n\\r\\nmine')
            connection.close()
port = Server().port
urls = [f'http://{host}:{port}/' for host in ('localhost', 'sandbox', '127.0.0.1', '0.0.0.0', '[::1]', '[::]')]
`;

const CLIENTS: Readonly<Record<string, { needs: string; code: string }>> = {
  urllib: {
    needs: '/usr/bin/python3',
    code: `
import urllib.request
for url in urls: print(url.split('/')[2].rpartition(':')[0], urllib.request.urlopen(url).read().decode())`,
  },
  curl: {
    needs: '/usr/bin/curl',
    code: `
for url in urls: print(url.split('/')[2].rpartition(':')[0], subprocess.run(['curl', '-sg', url], capture_output=True, text=True).stdout)`,
  },
  node: {
    needs: '/usr/bin/node',
    code: `
script = "fetch(process.argv[1]).then((reply) => reply.text()).then(console.log)"
for url in urls: print(url.split('/')[2].rpartition(':')[0], subprocess.run(['node', '-e', script, url], capture_output=True, text=True).stdout.strip())`,
  },
};

t.test('the proxy is not asked for the sandbox itself', async (t) => {
  const driver = await startDriver(t);
  const asked: unknown[] = [];
  const sandbox = await driver.create({
    ...sandboxSpec({ egress: { allow: ['example.com:80'], mayBePrivate: [] } }),
    onEgress: (decision) => asked.push(decision),
  });
  for (const [name, { needs, code }] of Object.entries(CLIENTS)) {
    await t.test(name, { skip: existsSync(needs) ? false : `needs ${needs}` }, async (t) => {
      const { stdout, stderr } = await run(sandbox, SERVE + code);
      t.equal(stderr, '');
      const hosts = ['localhost', 'sandbox', '127.0.0.1', '0.0.0.0', '[::1]', '[::]'];
      t.same(
        stdout.trim().split('\n'),
        hosts.map((host) => `${host} mine`),
      );
    });
  }
  t.same(asked, []);
  await sandbox.remove();
});

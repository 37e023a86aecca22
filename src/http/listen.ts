// Where the service listens. `localhost` is all addresses that this name has, 127.0.0.1 and ::1 on most hosts. Fastify binds
// them all only when it makes the servers itself, and ours is made by us; so the others are bound here, and hand their
// connections to the one server, which counts and bounds all of them alike.
import { lookup as dnsLookup } from 'node:dns/promises';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server as NetServer } from 'node:net';
import type { Server } from './server.js';

type Lookup = (host: string) => Promise<readonly { readonly address: string }[]>;

const others = new WeakMap<Server, NetServer[]>();

/** Resolves with the URL of the first address when requests are taken. */
export async function listen(
  server: Server,
  { host, port }: { readonly host: string; readonly port: number },
  lookup: Lookup = (name) => dnsLookup(name, { all: true }),
): Promise<string> {
  const more: NetServer[] = [];
  others.set(server, more);
  server.addHook('onClose', () => Promise.all(more.map(close)));
  const url = await server.listen({ host, port });
  if (host !== 'localhost') return url;
  const first = server.server.address() as AddressInfo;
  for (const { address } of await lookup(host).catch(() => [])) {
    if (address === first.address) continue;
    const other = await listenAlso(server, address, first.port);
    if (other) more.push(other);
  }
  return url;
}

/** `host:port` of every address the server listens on; none before it does. */
export function listeningOn(server: Server): string[] {
  const bound = [...server.addresses(), ...(others.get(server) ?? []).map((other) => other.address())];
  return bound.flatMap((each) =>
    each === null || typeof each === 'string' ? [] : [`${each.address}:${each.port}`],
  );
}

/** Undefined where the host has a name for an address that it does not have. */
async function listenAlso(server: Server, address: string, port: number): Promise<NetServer | undefined> {
  const { maxConnections } = server.server;
  const other = createServer((socket) => server.server.emit('connection', socket));
  if (maxConnections) other.maxConnections = maxConnections;
  other.listen({ host: address, port });
  try {
    await once(other, 'listening');
    return other;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EADDRNOTAVAIL' || code === 'EAFNOSUPPORT') return undefined;
    throw error;
  }
}

function close(server: NetServer): Promise<void> {
  return new Promise((resolve) => server.close(() => resolve()));
}

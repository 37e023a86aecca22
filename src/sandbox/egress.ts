// The only way out of a sandbox: an HTTP proxy on a Unix socket that is bound into it. The socket is the identity, so
// there is no token to steal. Plain HTTP comes in absolute form, everything else through CONNECT; each destination is
// checked against the allowlist by name, then by the addresses it really has.
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../observability/logger.js';
import { forwardRequest, isPlainlyFramed, parseAbsoluteForm } from './egress-http.js';
import {
  type Destination,
  EgressRefused,
  type LookUp,
  lookUpAddresses,
  resolveDestination,
} from './egress-resolve.js';
import { type HostAndPort, type HostRule, isListed, parseAuthority, parseHostRules } from './egress-rules.js';
import type { EgressPolicy } from './sandbox.js';

export interface EgressDecision {
  readonly allowed: boolean;
  readonly host: string;
  readonly port: number;
  readonly reason: string;
}

export interface EgressLimits {
  readonly connections: number;
  /** Of one connection, both directions together. */
  readonly bytes: number;
  readonly idleMs: number;
  readonly connectMs: number;
}

export const EGRESS_LIMITS: EgressLimits = {
  connections: 64,
  bytes: 4 * 1024 ** 3,
  idleMs: 120_000,
  connectMs: 20_000,
};

export interface EgressOptions {
  readonly socketPath: string;
  /** Host uid that may connect, and nobody else. Without it the socket is open to whoever reaches its directory. */
  readonly owner?: number;
  readonly policy: EgressPolicy;
  readonly log: Logger;
  readonly onDecision?: (decision: EgressDecision) => void;
  /** The service's own listening addresses, `host:port`; never reachable, whatever a policy says. */
  readonly forbid?: () => readonly string[];
  readonly limits?: Partial<EgressLimits>;
  readonly lookUp?: LookUp;
}

/** Decisions are made at this pace after a burst, so that a flood of requests floods neither log nor events. */
const DECISION_EVERY_MS = 20;
const BURST_MS = 1_000;

type Refuse = (status: number, reason: string) => void;

const NOT_LISTED = 'not in the allowlist';

/** A connection from the sandbox and where it leads. */
interface Passage extends HostAndPort {
  readonly client: Duplex;
  destination?: Destination;
  upstream?: Socket;
}

export class EgressProxy {
  readonly #options: EgressOptions;
  readonly #limits: EgressLimits;
  readonly #server: Server;
  readonly #passages = new Set<Passage>();
  #rules: readonly HostRule[];
  #allowPrivate: boolean;
  #started: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #nextDecisionAt = 0;

  constructor(options: EgressOptions) {
    this.#options = options;
    this.#limits = { ...EGRESS_LIMITS, ...options.limits };
    this.#rules = parseHostRules(options.policy.allow);
    this.#allowPrivate = options.policy.allowPrivate;
    this.#server = createServer({ maxHeaderSize: 16 * 1024, headersTimeout: 15_000, requestTimeout: 0 });
    // One request each: nothing that one request leaves behind can be read as the next one.
    this.#server.maxRequestsPerSocket = 1;
    this.#server.maxConnections = this.#limits.connections;
    this.#server.timeout = this.#limits.idleMs;
    this.#server.on('request', (request, response) => void this.#onRequest(request, response));
    this.#server.on('connect', (request, client, head) => void this.#onConnect(request, client, head));
    this.#server.on('drop', () => options.log.debug('egress connection refused: too many at once'));
  }

  start(): Promise<void> {
    this.#started ??= this.#listen();
    return this.#started;
  }

  /** Holds from now on: connections to hosts that are no longer allowed are cut. */
  setPolicy(policy: EgressPolicy): void {
    this.#rules = parseHostRules(policy.allow);
    this.#allowPrivate = policy.allowPrivate;
    for (const passage of this.#passages) {
      // Those still being looked up are judged by the new policy when they are admitted.
      if (!passage.destination || this.#isAllowed(passage, passage.destination)) continue;
      this.#decide(passage, false, 'no longer in the allowlist; the connection was cut');
      cut(passage);
    }
  }

  close(): Promise<void> {
    this.#closed ??= this.#end();
    return this.#closed;
  }

  async #listen(): Promise<void> {
    const { socketPath, owner } = this.#options;
    await rm(socketPath, { force: true });
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', reject);
      this.#server.listen(socketPath, resolve);
    });
    if (owner !== undefined) await chown(socketPath, owner, owner);
    // Without an owner of its own the sandbox runs as we do.
    await chmod(socketPath, 0o600);
  }

  async #end(): Promise<void> {
    await this.#started?.catch(() => {});
    const ended = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    for (const passage of this.#passages) cut(passage);
    this.#server.closeAllConnections();
    await ended;
    await rm(this.#options.socketPath, { force: true });
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, reason: string) => {
      response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' });
      response.end(`${reason}\n`);
    };
    const target = parseAbsoluteForm(request.url ?? '');
    if (target === null || !isPlainlyFramed(request)) return this.#refuseMalformed(request, refuse);
    await this.#pass({ ...target, client: request.socket }, refuse, (upstream) => {
      forwardRequest({ request, response, upstream, target });
      return request;
    });
  }

  async #onConnect(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    client.on('error', () => {});
    const refuse = (status: number, reason: string) => {
      const body = Buffer.from(`${reason}\n`);
      client.write(
        `HTTP/1.1 ${status} Refused\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: ${body.length}\r\n\r\n`,
      );
      client.end(body, () => client.destroy());
    };
    const target = parseAuthority(request.url ?? '');
    if (target === null) return this.#refuseMalformed(request, refuse);
    await this.#pass({ ...target, client }, refuse, (upstream) => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      upstream.write(head);
      client.pipe(upstream);
      upstream.pipe(client);
      // A clean end has been passed on already; any other must not look like one.
      upstream.once('close', () => {
        if (!upstream.readableEnded) client.destroy();
      });
      return client;
    });
  }

  async #refuseMalformed(request: IncomingMessage, refuse: Refuse): Promise<void> {
    await this.#takeTurn();
    const host = (request.url ?? '').slice(0, 200);
    this.#decide({ host, port: 0 }, false, 'not a proxy request');
    refuse(400, 'egress proxy: send an absolute http:// URL with a plain body, or CONNECT host:port');
  }

  /** From the decision to the last byte. `carry` starts the exchange and tells where the sandbox's bytes come from. */
  async #pass(passage: Passage, refuse: Refuse, carry: (upstream: Socket) => Readable): Promise<void> {
    this.#passages.add(passage);
    passage.client.once('close', () => {
      this.#passages.delete(passage);
      cut(passage);
    });
    try {
      await this.#takeTurn();
      const destination = await this.#admit(passage);
      this.#decide(passage, true, 'in the allowlist');
      const upstream = await this.#open(passage, destination);
      this.#countBytes(passage, upstream, carry(upstream));
    } catch (error) {
      if (passage.client.destroyed) return;
      const { host, port } = passage;
      if (error instanceof EgressRefused) {
        this.#decide(passage, false, error.message);
        refuse(403, `egress proxy: ${host}:${port} refused: ${error.message}`);
      } else {
        this.#options.log.debug({ host, port, err: error }, 'egress connection failed');
        refuse(502, `egress proxy: ${host}:${port} could not be reached`);
      }
    }
  }

  async #admit(passage: Passage): Promise<Destination> {
    const { forbid = () => [], lookUp = lookUpAddresses } = this.#options;
    if (!isListed(this.#rules, passage)) throw new EgressRefused(NOT_LISTED);
    const destination = await resolveDestination(passage, {
      allowPrivate: this.#allowPrivate,
      forbidden: forbid(),
      lookUp,
    });
    // The policy may have changed while the name was looked up.
    if (!this.#isAllowed(passage, destination)) throw new EgressRefused(NOT_LISTED);
    passage.destination = destination;
    return destination;
  }

  #isAllowed(target: HostAndPort, { isPrivate }: Destination): boolean {
    return isListed(this.#rules, target) && (this.#allowPrivate || !isPrivate);
  }

  #open(passage: Passage, { addresses }: Destination): Promise<Socket> {
    if (passage.client.destroyed) throw new Error('the sandbox hung up');
    const { connectMs, idleMs } = this.#limits;
    const upstream = connect({
      host: passage.host,
      port: passage.port,
      allowHalfOpen: true,
      autoSelectFamily: true,
      autoSelectFamilyAttemptTimeout: 2_000,
      // Only what was checked is connected to.
      lookup: (_host, _options, answer) =>
        answer(
          null,
          addresses.map((address) => ({ address, family: address.includes(':') ? 6 : 4 })),
        ),
    });
    passage.upstream = upstream;
    return new Promise((resolve, reject) => {
      upstream.setTimeout(connectMs, () => upstream.destroy(new Error('nothing moved for too long')));
      upstream.on('error', reject);
      upstream.once('close', () => reject(new Error('closed before it was connected')));
      upstream.once('connect', () => {
        upstream.setTimeout(idleMs);
        resolve(upstream);
      });
    });
  }

  #countBytes(passage: Passage, upstream: Readable, sandbox: Readable): void {
    const { bytes } = this.#limits;
    let carried = 0;
    const count = (chunk: Buffer) => {
      carried += chunk.length;
      if (carried <= bytes) return;
      const { host, port } = passage;
      this.#options.log.warn({ host, port, bytes }, 'egress connection cut: too many bytes');
      cut(passage);
    };
    upstream.on('data', count);
    sandbox.on('data', count);
  }

  async #takeTurn(): Promise<void> {
    const now = performance.now();
    this.#nextDecisionAt = Math.max(this.#nextDecisionAt, now - BURST_MS) + DECISION_EVERY_MS;
    if (this.#nextDecisionAt > now) await sleep(this.#nextDecisionAt - now);
  }

  #decide({ host, port }: HostAndPort, allowed: boolean, reason: string): void {
    const decision = { allowed, host, port, reason };
    this.#options.log.info(decision, 'egress decision');
    this.#options.onDecision?.(decision);
  }
}

function cut(passage: Passage): void {
  passage.upstream?.destroy();
  passage.client.destroy();
}

// The only way out of a sandbox: an HTTP proxy on a Unix socket that is bound into it. The socket is the identity, so
// there is no token to steal. Plain HTTP comes in absolute form, everything else through CONNECT; each destination is
// checked against the allowlist by name, then by the addresses it really has.
import { chmod, chown, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { connect, type Socket } from 'node:net';
import type { Duplex, Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../observability/logger.js';
import type { EgressBudget } from './egress-budget.js';
import type { SingleDecision } from './egress-decisions.js';
import { forwardRequest, isPlainlyFramed, parseAbsoluteForm } from './egress-http.js';
import { NOT_LISTED } from './egress-refusal.js';
import {
  type Destination,
  EgressRefused,
  type LookUp,
  lookUpTurns,
  resolveDestination,
} from './egress-resolve.js';
import { type HostAndPort, type HostRule, isListed, parseAuthority, parseHostRules } from './egress-rules.js';
import { TlsNameCheck } from './egress-tls.js';
import type { EgressPolicy } from './sandbox.js';

export interface EgressOptions {
  readonly socketPath: string;
  /** Host uid that may connect, and nobody else. Without it the socket is open to whoever reaches its directory. */
  readonly owner?: number;
  readonly policy: EgressPolicy;
  readonly log: Logger;
  /** What this and other proxies of the sandbox may use together. */
  readonly budget: EgressBudget;
  readonly onDecision: (decision: SingleDecision) => void;
  /** The service's own listening addresses, `host:port`; never reachable, whatever a policy says. */
  readonly forbid?: () => readonly string[];
  readonly lookUp?: LookUp;
}

/** Decisions are made at this pace after a burst, so that a flood of requests does not keep the service busy. */
const DECISION_EVERY_MS = 20;
const BURST_MS = 1_000;

/** How often heads that do not come to an end are looked for. */
const HEADS_CHECKED_EVERY_MS = 1_000;

type Refuse = (status: number, reason: string) => void;

type Place = Pick<SingleDecision, 'host' | 'port'>;

const NO_HOST: Place = { host: null, port: null };

const UNREADABLE: Readonly<Record<string, string>> = {
  HPE_HEADER_OVERFLOW: 'the head of the request is too large',
  ERR_HTTP_REQUEST_TIMEOUT: 'the head of the request took too long',
};

/** A connection from the sandbox and where it leads. */
interface Passage extends HostAndPort {
  readonly client: Duplex;
  destination?: Destination;
  upstream?: Socket;
}

export class EgressProxy {
  readonly #lookUp = lookUpTurns.forSandbox();
  readonly #options: EgressOptions;
  readonly #server: Server;
  readonly #passages = new Set<Passage>();
  #allowed: readonly HostRule[];
  #mayBePrivate: readonly HostRule[];
  #started: Promise<void> | undefined;
  #closed: Promise<void> | undefined;
  #nextDecisionAt = 0;

  constructor(options: EgressOptions) {
    this.#options = options;
    this.#allowed = parseHostRules(options.policy.allow);
    this.#mayBePrivate = parseHostRules(options.policy.mayBePrivate);
    const { limits } = options.budget;
    this.#server = createServer({
      maxHeaderSize: 16 * 1024,
      headersTimeout: limits.headMs,
      requestTimeout: 0,
      connectionsCheckingInterval: Math.min(HEADS_CHECKED_EVERY_MS, limits.headMs),
    });
    // One request each: nothing that one request leaves behind can be read as the next one.
    this.#server.maxRequestsPerSocket = 1;
    this.#server.timeout = limits.idleMs;
    this.#server.on('connection', (client) => this.#letIn(client));
    this.#server.on('request', (request, response) => void this.#onRequest(request, response));
    this.#server.on('connect', (request, client, head) => void this.#onConnect(request, client, head));
    this.#server.on('clientError', (error, client) => this.#refuseUnread(error, client));
  }

  start(): Promise<void> {
    this.#started ??= this.#listen();
    return this.#started;
  }

  /** Holds from now on: connections to hosts that are no longer allowed are cut. */
  setPolicy(policy: EgressPolicy): void {
    this.#allowed = parseHostRules(policy.allow);
    this.#mayBePrivate = parseHostRules(policy.mayBePrivate);
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

  #letIn(client: Socket): void {
    const { budget } = this.#options;
    if (budget.letIn()) {
      client.once('close', () => budget.letOut());
      return;
    }
    const reason = `more than ${budget.limits.connections} connections at once`;
    this.#decide(NO_HOST, false, reason);
    client.on('error', () => {});
    client.write(answer(503, `egress proxy: ${reason}`));
    client.destroySoon();
  }

  /** What is no HTTP, or has a head that is too large or does not come to its end. */
  #refuseUnread({ code }: NodeJS.ErrnoException, client: Duplex): void {
    // Gone, or cut by us.
    if (client.destroyed || !client.writable) return;
    this.#decide(NO_HOST, false, UNREADABLE[code ?? ''] ?? 'not a proxy request');
    client.write(answer(400, 'egress proxy: the request could not be read'));
    client.destroy();
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const refuse = (status: number, reason: string) => {
      response.writeHead(status, { 'content-type': 'text/plain', connection: 'close' });
      response.end(`${reason}\n`);
    };
    const target = parseAbsoluteForm(request.url ?? '');
    if (target === null || !isPlainlyFramed(request)) return this.#refuseMalformed(refuse);
    await this.#pass({ ...target, client: request.socket }, refuse, (upstream) => {
      forwardRequest({ request, response, upstream, target });
      return request;
    });
  }

  async #onConnect(request: IncomingMessage, client: Duplex, head: Buffer): Promise<void> {
    client.on('error', () => {});
    const refuse = (status: number, reason: string) => {
      client.end(answer(status, reason), () => client.destroy());
    };
    const target = parseAuthority(request.url ?? '');
    if (target === null) return this.#refuseMalformed(refuse);
    await this.#pass({ ...target, client }, refuse, (upstream) => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      const checked = new TlsNameCheck(target.host);
      checked.on('error', ({ message }) => {
        this.#decide(target, false, message);
        upstream.destroy();
        client.destroy();
      });
      client.unshift(head);
      client.pipe(checked).pipe(upstream);
      upstream.pipe(client);
      // A clean end has been passed on already; any other must not look like one.
      upstream.once('close', () => {
        if (!upstream.readableEnded) client.destroy();
      });
      return client;
    });
  }

  async #refuseMalformed(refuse: Refuse): Promise<void> {
    await this.#takeTurn();
    this.#decide(NO_HOST, false, 'not a proxy request');
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
    const { forbid = () => [], lookUp = this.#lookUp } = this.#options;
    if (!isListed(this.#allowed, passage)) throw new EgressRefused(NOT_LISTED);
    if (this.#options.budget.isSpent) throw new EgressRefused(this.#tooManyBytes());
    const destination = await resolveDestination(passage, {
      mayBePrivate: isListed(this.#mayBePrivate, passage),
      forbidden: forbid(),
      lookUp,
    });
    // The policy may have changed while the name was looked up.
    if (!this.#isAllowed(passage, destination)) throw new EgressRefused(NOT_LISTED);
    passage.destination = destination;
    return destination;
  }

  #isAllowed(target: HostAndPort, { isPrivate }: Destination): boolean {
    return isListed(this.#allowed, target) && (!isPrivate || isListed(this.#mayBePrivate, target));
  }

  #open(passage: Passage, { addresses }: Destination): Promise<Socket> {
    if (passage.client.destroyed) throw new Error('the sandbox hung up');
    const { connectMs, idleMs } = this.#options.budget.limits;
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
    const { budget } = this.#options;
    const count = (chunk: Buffer) => {
      budget.spend(chunk.length);
      if (!budget.isSpent || passage.client.destroyed) return;
      this.#decide(passage, false, this.#tooManyBytes());
      cut(passage);
    };
    upstream.on('data', count);
    sandbox.on('data', count);
  }

  #tooManyBytes(): string {
    return `the session has used its ${this.#options.budget.limits.bytes} bytes`;
  }

  async #takeTurn(): Promise<void> {
    const now = performance.now();
    this.#nextDecisionAt = Math.max(this.#nextDecisionAt, now - BURST_MS) + DECISION_EVERY_MS;
    if (this.#nextDecisionAt > now) await sleep(this.#nextDecisionAt - now);
  }

  #decide({ host, port }: Place, allowed: boolean, reason: string): void {
    this.#options.onDecision({ allowed, host, port, reason });
  }
}

function cut(passage: Passage): void {
  passage.upstream?.destroy();
  passage.client.destroy();
}

function answer(status: number, reason: string): string {
  const body = `${reason}\n`;
  return `HTTP/1.1 ${status} Refused\r\ncontent-type: text/plain\r\nconnection: close\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

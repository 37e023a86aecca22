// Every change may be retried: a request with an Idempotency-Key is done once, and its repeats get the same reply.
//
// An ordinary call is recorded as `running` before its handler starts, and its reply is stored before it is sent; a
// record found `running` at the start was cut off by a crash, so nobody knows whether the work was done. A task
// submission is recorded in the unit that accepts the task, with the task's id: neither is ever stored without the
// other, and a repeat waits for that task again. A large reply is stored in part, see `partial-reply`: whoever repeats cancels
// of large tasks must not fill the store.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import {
  IdempotencyInProgress,
  IdempotencyMismatch,
  IdempotencyOutcomeUnknown,
  StoreUnavailable,
  ValidationFailed,
} from '../errors.js';
import type { IdempotencyRow } from '../store/schema.js';
import type { Statement } from '../store/store.js';
import type { IdempotencyRecords, RecordKey, StoredReply } from './idempotency-records.js';
import { type Refetch, type ReplyMembers, storedBody } from './partial-reply.js';
import { PROBLEM_TYPE } from './problem-schema.js';
import { requestDigest } from './request-digest.js';

/** What the submission of a task with an Idempotency-Key has to know. */
export interface TaskIdempotency {
  /** The task that an earlier request with this key submitted: answer with it and submit nothing. */
  readonly repeatedTaskId: string | undefined;
  /** To be stored in the unit that accepts the task. */
  statements(taskId: string): readonly Statement[];
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set on routes with `config: { idempotency: 'task' }` when the request has a key, else null. */
    idempotency: TaskIdempotency | null;
  }
  interface FastifyContextConfig {
    /** `task`: the handler stores the record itself, with the task it accepts. */
    idempotency?: 'task';
    /** To be given by every route that changes something and whose reply can be large. */
    refetch?: Refetch;
  }
}

const METHODS = new Set(['POST', 'PUT', 'PATCH', 'DELETE']);
const KEPT_HEADERS = ['content-type', 'location', 'etag'];

/** Watches every request of this server. To be called after `guardAccess`: a record belongs to a tenant. */
export function honourIdempotencyKeys(app: FastifyInstance, records: IdempotencyRecords): void {
  /** Calls under way that will store their reply. */
  const recorded = new WeakMap<FastifyRequest, RecordKey>();
  const running = new Set<string>();
  /** Submissions under way: they have no record until they are accepted. */
  const submitting = new Set<string>();
  const submissions = new WeakMap<FastifyRequest, string>();
  /** Calls that are over and whose record still says `running`, since the store did not take their end: how to store it
   *  after all. Done when a repeat comes; a restart calls them unknown. */
  const unsettled = new Map<string, () => Promise<void>>();

  app.decorateRequest('idempotency', null);

  // After validation, so that a request that can never be carried out uses up no key.
  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) return;
    const { tenant } = request.principal;
    const record: RecordKey = { tenant, method: request.method, path: pathOf(request), key };
    const bodyHash = requestDigest(request);

    if (request.routeOptions.config.idempotency === 'task') {
      const earlier = (await records.find(record)) ?? (await claim(request, record));
      if (earlier) {
        requireSameRequest(earlier, bodyHash);
        reply.header('idempotency-replayed', 'true');
      }
      request.idempotency = {
        repeatedTaskId: earlier?.task ?? undefined,
        statements: (taskId) => records.forTask(record, bodyHash, taskId),
      };
      return;
    }

    const earlier = await begin(record, bodyHash);
    if (!earlier) {
      recorded.set(request, record);
      running.add(JSON.stringify(record));
      return;
    }
    requireSameRequest(earlier, bodyHash);
    if (earlier.state === 'unknown') throw new IdempotencyOutcomeUnknown(key);
    if (earlier.state === 'running') throw new IdempotencyInProgress(key);
    return replay(request, reply, earlier);
  });

  async function begin(record: RecordKey, bodyHash: string): Promise<IdempotencyRow | undefined> {
    const name = JSON.stringify(record);
    const settle = unsettled.get(name);
    if (settle && unsettled.delete(name)) await orLater(name, settle);
    if (!records.hasRoom) {
      const known = await records.find(record);
      if (known) return known;
      records.requireRoom();
    }
    try {
      return await records.begin(record, bodyHash);
    } catch (error) {
      // It may have been stored although the call never starts.
      if (error instanceof StoreUnavailable && error.outcome === 'unknown' && !running.has(name))
        unsettled.set(name, () => records.forget(record));
      throw error;
    }
  }

  async function orLater(name: string, settle: () => Promise<void>): Promise<void> {
    await settle().catch((error: unknown) => {
      unsettled.set(name, settle);
      throw error;
    });
  }

  /** Reserves the key until the reply is sent, and then looks once more: the first request may have had its task
   *  accepted and been answered since the last look. */
  async function claim(request: FastifyRequest, record: RecordKey): Promise<IdempotencyRow | undefined> {
    const lane = JSON.stringify(record);
    records.requireRoom();
    if (submitting.has(lane)) throw new IdempotencyInProgress(record.key);
    submitting.add(lane);
    submissions.set(request, lane);
    return records.find(record);
  }

  app.addHook('onSend', async (request, reply, payload) => {
    const lane = submissions.get(request);
    if (lane !== undefined) submitting.delete(lane);
    const record = recorded.get(request);
    if (!record) return;
    recorded.delete(request);
    const name = JSON.stringify(record);
    const body = bytesOf(payload);
    const stored = body &&
      isFinal(reply, body) && { ...kept(reply), ...storedBody(body, isRefetched(request, reply)) };
    const settle = () => (stored ? records.complete(record, stored) : records.forget(record));
    try {
      await orLater(name, settle);
    } catch (error) {
      // The work is done and its reply is true; a repeat tries again to store it.
      request.log.error({ err: error }, 'idempotency record not stored');
    } finally {
      running.delete(name);
    }
  });
}

function keyOf(request: FastifyRequest): string | undefined {
  const key = request.headers['idempotency-key'];
  if (key === undefined || !METHODS.has(request.method) || request.is404) return undefined;
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw new ValidationFailed([
      {
        where: '/headers/idempotency-key',
        given: String(key).slice(0, 300),
        rule: 'must be 1 to 255 visible ASCII characters',
      },
    ]);
  }
  return key;
}

function requireSameRequest(earlier: IdempotencyRow, bodyHash: string): void {
  if (earlier.body_hash !== bodyHash) throw new IdempotencyMismatch(earlier.key);
}

/** As its route names it, so that every way to write one address is the same address. */
function pathOf({ routeOptions, params }: FastifyRequest): string {
  const values = params as Record<string, string>;
  return routeOptions.url!.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? ''));
}

async function replay(
  request: FastifyRequest,
  reply: FastifyReply,
  earlier: IdempotencyRow,
): Promise<FastifyReply> {
  const body = earlier.body && Buffer.from(earlier.body);
  const { refetch } = request.routeOptions.config;
  // First, since it may fail: what was done can have been removed meanwhile.
  const again =
    earlier.body_kind === 'part' && body && refetch ? await completed(request, refetch, body) : body;
  reply.code(earlier.status!).headers(JSON.parse(earlier.headers!));
  reply.header('idempotency-replayed', 'true');
  return again?.byteLength ? reply.send(again) : reply.send();
}

async function completed(request: FastifyRequest, refetch: Refetch, body: Buffer): Promise<Buffer> {
  const kept = JSON.parse(body.toString('utf8')) as ReplyMembers;
  return Buffer.from(JSON.stringify({ ...kept, ...(await refetch(request, kept)) }));
}

/** Our own failures, and refusals that may be lifted by themselves, are not what a repeat should get. */
function isFinal(reply: FastifyReply, body: Buffer): boolean {
  if (reply.statusCode >= 500) return false;
  if (reply.getHeader('content-type') !== PROBLEM_TYPE) return true;
  return (JSON.parse(body.toString()) as { retryable: boolean }).retryable === false;
}

/** Only the route's own reply can be fetched again, and no refusal. */
function isRefetched(request: FastifyRequest, reply: FastifyReply): boolean {
  return request.routeOptions.config.refetch !== undefined && reply.statusCode < 400;
}

function bytesOf(payload: unknown): Buffer | undefined {
  if (payload === undefined || payload === null) return Buffer.alloc(0);
  return typeof payload === 'string' || Buffer.isBuffer(payload) ? Buffer.from(payload) : undefined;
}

function kept(reply: FastifyReply): Pick<StoredReply, 'status' | 'headers'> {
  const headers = KEPT_HEADERS.filter((name) => reply.hasHeader(name));
  return {
    status: reply.statusCode,
    headers: Object.fromEntries(headers.map((name) => [name, String(reply.getHeader(name))])),
  };
}

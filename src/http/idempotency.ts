// Every change may be retried: a request with an Idempotency-Key is done once, and its repeats get the same reply.
//
// An ordinary call is recorded as `running` before its handler starts, and its reply is stored before it is sent; a
// record found `running` at the start was cut off by a crash, so nobody knows whether the work was done. A task
// submission is recorded in the unit that accepts the task, with the task's id: neither is ever stored without the
// other, and a repeat waits for that task again.
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
    const path = request.url.split('?', 1)[0]!;
    const record: RecordKey = { tenant: request.principal.tenant, method: request.method, path, key };
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
    return replay(reply, earlier);
  });

  async function begin(record: RecordKey, bodyHash: string): Promise<IdempotencyRow | undefined> {
    const name = JSON.stringify(record);
    const settle = unsettled.get(name);
    if (settle && unsettled.delete(name)) await orLater(name, settle);
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
    const stored = body && isFinal(reply, body) && { ...kept(reply), body };
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

function replay(reply: FastifyReply, earlier: IdempotencyRow): FastifyReply {
  reply.code(earlier.status!).headers(JSON.parse(earlier.headers!));
  reply.header('idempotency-replayed', 'true');
  return earlier.body?.byteLength ? reply.send(Buffer.from(earlier.body)) : reply.send();
}

/** Our own failures, and refusals that may be lifted by themselves, are not what a repeat should get. */
function isFinal(reply: FastifyReply, body: Buffer): boolean {
  if (reply.statusCode >= 500) return false;
  if (reply.getHeader('content-type') !== PROBLEM_TYPE) return true;
  return (JSON.parse(body.toString()) as { retryable: boolean }).retryable === false;
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

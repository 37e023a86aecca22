// What the service says about itself: alive, ready, its numbers and its walls.
import { Type } from '@sinclair/typebox';
import { IsolationUnavailable, PublicError, ShuttingDown, StoreUnavailable } from '../errors.js';
import { ref } from '../lib/typebox.js';
import { checkHealth, type HealthOptions } from '../observability/health.js';
import type { Metrics } from '../observability/metrics.js';
import type { IsolationReport } from '../sandbox/sandbox.js';
import { errorResponses } from './problem-schema.js';
import type { Server } from './server.js';
import { Alive, Isolation, Ready } from './service-schema.js';

export interface ServiceRoutesOptions {
  readonly metrics: Metrics;
  readonly health: HealthOptions;
  readonly isolation: () => IsolationReport;
}

const tags = ['Service'];

export async function serviceRoutes(app: Server, { metrics, health, isolation }: ServiceRoutesOptions) {
  app.get(
    '/healthz',
    {
      schema: {
        operationId: 'getLiveness',
        tags,
        summary: 'Whether the service lives',
        description: 'Open to all: needs no key.',
        security: [],
        response: { 200: ref(Alive), ...errorResponses() },
      },
    },
    async () => ({ status: 'alive' as const }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        operationId: 'getReadiness',
        tags,
        summary: 'Whether the service can do its work',
        description:
          'Open to all. 503 with the reason while the service stops, cannot store, or may run no task for want of isolation; 507 while there is no room to store.',
        security: [],
        response: {
          200: ref(Ready),
          ...errorResponses('ISOLATION_UNAVAILABLE', 'STORE_UNAVAILABLE', 'OUT_OF_DISK'),
        },
      },
    },
    async () => {
      const found = await checkHealth(health);
      switch (found.state) {
        case 'ready':
          return { status: 'ready' as const, isolation: found.isolation as never };
        case 'closing':
          throw new ShuttingDown();
        case 'storeUnavailable':
          throw found.cause instanceof PublicError ? found.cause : new StoreUnavailable(found.cause);
        case 'isolationUnavailable':
          throw new IsolationUnavailable(found.what, found.fix);
        default:
          return found satisfies never;
      }
    },
  );

  app.get(
    '/v1/isolation',
    {
      schema: {
        operationId: 'getIsolation',
        tags,
        summary: 'How strong the walls are',
        description: 'What was probed on this host at the start, and what is enforced.',
        response: { 200: ref(Isolation), ...errorResponses() },
      },
    },
    async () => isolation() as never,
  );

  app.get(
    '/metrics',
    {
      schema: {
        operationId: 'getMetrics',
        tags,
        summary: 'Numbers for Prometheus',
        description: 'In the text format of Prometheus.',
        response: {
          200: {
            description: 'The numbers.',
            content: { 'text/plain': { schema: Type.String() } },
          },
          ...errorResponses(),
        },
      },
    },
    async (_request, reply) => reply.type(metrics.contentType).send(await metrics.render()),
  );
}

/** Counts every request by the pattern of its route, so that ids do not multiply the series. */
export function countRequests(app: Server, metrics: Metrics): void {
  app.addHook('onResponse', (request, reply, done) => {
    metrics.requestServed({
      method: request.method,
      route: request.routeOptions.url ?? 'none',
      status: reply.statusCode,
      durationMs: reply.elapsedTime,
    });
    done();
  });
}

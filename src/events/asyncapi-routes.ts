// Serves the AsyncAPI document, which is made when somebody first asks.
import { Problem } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';

export async function asyncapiRoutes(app: Server): Promise<void> {
  // One buffer for all who ask, as for the OpenAPI document.
  let document: Buffer | undefined;
  app.get('/asyncapi.json', { schema: { hide: true } as never }, async (_request, reply) => {
    const { asyncapiDocument } = await import('./asyncapi.js');
    document ??= Buffer.from(JSON.stringify(asyncapiDocument({ problem: Problem })));
    return reply.type('application/json; charset=utf-8').send(document);
  });
}

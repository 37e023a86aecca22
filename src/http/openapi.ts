// Serves the OpenAPI document, which is generated from the routes and their schemas, and a page to read it on.
import type { FastifyInstance, RouteOptions } from 'fastify';
import { nothingAt } from './problem.js';
import type { Server } from './server.js';

/** About the connection to us, not to those who made the page. */
const OF_CONNECTION = new Set(['connection', 'date', 'keep-alive', 'transfer-encoding']);

/** To be called before the first route. Serves `/openapi.json` and `/docs`. */
export function describeApi(app: Server): void {
  const routes: RouteOptions[] = [];
  app.addHook('onRoute', (route) => {
    const isShown = route.schema !== undefined && !(route.schema as { hide?: boolean }).hide;
    if (route.method !== 'HEAD' && isShown) routes.push(route);
  });
  const scopes: FastifyInstance[] = [];
  app.addHook('onRegister', (scope) => {
    scopes.push(scope);
  });
  let building: Promise<FastifyInstance> | undefined;
  const build = async () => {
    const { buildApiPages } = await import('./api-pages.js');
    return buildApiPages(routes, Object.assign({}, ...[...scopes, app].map((scope) => scope.getSchemas())));
  };
  const pages = () => {
    building ??= build().catch((error: unknown) => {
      building = undefined;
      throw error;
    });
    return building;
  };
  app.addHook('onClose', async () => (await building?.catch(() => undefined))?.close());

  const schema = { hide: true };
  // One buffer for all who ask: it is large, and never another.
  let document: Buffer | undefined;
  app.get('/openapi.json', { schema }, async (_request, reply) => {
    document ??= Buffer.from(JSON.stringify((await pages()).swagger()));
    return reply.type('application/json; charset=utf-8').send(document);
  });
  for (const url of ['/docs', '/docs/*']) {
    app.get(url, { schema }, async (request, reply) => {
      const { headers, raw } = request;
      const page = await (await pages()).inject({ method: 'GET', url: raw.url!, headers });
      if (page.statusCode === 404) throw nothingAt(request);
      for (const [name, value] of Object.entries(page.headers)) {
        if (!OF_CONNECTION.has(name)) reply.header(name, value);
      }
      return reply.code(page.statusCode).send(page.rawPayload.length > 0 ? page.rawPayload : undefined);
    });
  }
}

// How a client gets a token for a browser.
import { Type } from '@sinclair/typebox';
import type { Principal } from '../lib/principal.js';
import { closed, ref, stringEnum, Timestamp } from '../lib/typebox.js';
import { SessionId } from '../sessions/schema.js';
import { errorResponses } from './problem-schema.js';
import type { Server } from './server.js';
import type { StreamTokens } from './stream-tokens.js';

const DEFAULT_TTL_SECONDS = 300;

export const CreateToken = closed(
  {
    scope: Type.Optional(
      stringEnum(['events'], {
        default: 'events',
        description: 'What it opens: `events`, the events of the session and of its tasks, to be read.',
      }),
    ),
    ttlSeconds: Type.Optional(
      Type.Integer({
        minimum: 10,
        maximum: 3600,
        default: DEFAULT_TTL_SECONDS,
        description: 'How long streams can be opened with it; one that is open stays.',
      }),
    ),
  },
  { $id: 'CreateToken', description: 'What a token is to open.', examples: [{ ttlSeconds: 300 }] },
);

export const StreamToken = closed(
  {
    token: Type.String({
      description: 'A secret. For `?token=`, a subprotocol or the Authorization header.',
    }),
    sessionId: SessionId,
    scope: stringEnum(['events']),
    expiresAt: Timestamp(),
  },
  {
    $id: 'StreamToken',
    description: 'A token that reads the events of one session.',
    examples: [
      {
        token: 'cwt_eyJ0ZW5hbnQiOiJkZWZhdWx0In0.c2lnbmF0dXJl',
        sessionId: 'ses_06g4k2m8s5t7v9x1z3b5d7f9h1',
        scope: 'events',
        expiresAt: '2026-11-22T21:08:05.123Z',
      },
    ],
  },
);

export interface TokenRoutesOptions {
  readonly tokens: StreamTokens;
  /** Rejects with SessionNotFound when it is not there or not the caller's. */
  findSession(principal: Principal, sessionId: string): Promise<{ readonly id: string }>;
}

export async function tokenRoutes(app: Server, { tokens, findSession }: TokenRoutesOptions): Promise<void> {
  app.addSchema(CreateToken);
  app.addSchema(StreamToken);
  app.post(
    '/sessions/:sessionId/tokens',
    {
      schema: {
        operationId: 'createToken',
        tags: ['Sessions'],
        summary: 'Make a token for a browser',
        description:
          'A short-lived token that reads the events of this session and does nothing else. A server makes it with its key and hands it to a page, whose EventSource or WebSocket can send no key. It ends with its time or with the service, whichever is first.',
        params: closed({ sessionId: SessionId }),
        body: ref(CreateToken),
        response: {
          201: ref(StreamToken),
          ...errorResponses('SESSION_NOT_FOUND'),
        },
      },
    },
    async (request, reply) => {
      const { sessionId } = request.params;
      const { ttlSeconds = DEFAULT_TTL_SECONDS } = request.body;
      const { tenant } = request.principal;
      const { id } = await findSession(request.principal, sessionId);
      const issued = tokens.issue({ tenant, session: id }, ttlSeconds);
      reply.code(201).header('cache-control', 'no-store');
      return reply.send({ ...issued, sessionId, scope: 'events' as const });
    },
  );
}

// The workspace as it is now, as an archive.
import { errorResponses } from '../http/problem-schema.js';
import type { Server } from '../http/server.js';
import { closed } from '../lib/typebox.js';
import { SessionId } from '../sessions/schema.js';
import type { Sessions } from '../sessions/service.js';
import { packEntries } from './archive-write.js';
import type { DownloadSlots } from './download-slots.js';

export async function workspaceRoutes(
  app: Server,
  { sessions, downloads }: { sessions: Pick<Sessions, 'findLive'>; downloads: DownloadSlots },
): Promise<void> {
  app.get(
    '/sessions/:sessionId/files/archive',
    {
      // It would pack the whole workspace to send none of it.
      exposeHeadRoute: false,
      schema: {
        operationId: 'getWorkspaceArchive',
        tags: ['Sessions'],
        summary: 'Download the workspace',
        description:
          'Everything in the workspace as a plain `.tar.gz`, made while it is sent: nothing is stored, and nothing that runs is held. A file that changes meanwhile has the size it had when its turn came. A download that breaks off was not whole; for a copy at one moment, one that can be had in ranges or restored, take a checkpoint. Symlinks are kept and not followed; FIFOs, sockets and devices are left out. A session serves two downloads at a time, and the service as many as `MAX_DOWNLOADS` says; a download that is not read for `STALLED_REPLY_SECONDS` is cut off.',
        params: closed({ sessionId: SessionId }),
        response: {
          200: {
            description: 'All of it.',
            content: { 'application/gzip': { schema: { type: 'string', format: 'binary' } } },
          },
          ...errorResponses(
            'SESSION_NOT_FOUND',
            'SESSION_ENDED',
            'SESSION_DETACHED',
            'TOO_MANY_DOWNLOADS',
            'CAPACITY_EXCEEDED',
          ),
        },
      },
    },
    async (request, reply) => {
      const { sessionId } = request.params;
      const { sandbox, row } = await sessions.findLive(request.principal, sessionId);
      const release = downloads.take(row.id, sessionId);
      const gone = new AbortController();
      const archive = packEntries(sandbox.readTree(gone.signal));
      // Sent whole, broken off by its reader, or by the end of the session.
      archive.once('close', () => {
        gone.abort();
        release();
      });
      return reply
        .type('application/gzip')
        .header('content-disposition', `attachment; filename="${sessionId}.tar.gz"`)
        .send(archive);
    },
  );
}

// What request bodies under way may hold. A body is collected before its route sees it, and a client may take minutes to
// send the rest: the bytes that have come of all of them are counted, and one too many is refused.
import { TooManyBodies } from '../errors.js';
import type { Server } from './server.js';

/** `maxBytes`: of all bodies that are being received, together. */
export function boundBodies(app: Server, maxBytes: number): void {
  let heldBytes = 0;
  const held = new WeakMap<object, number>();
  const release = (raw: object) => {
    heldBytes -= held.get(raw) ?? 0;
    held.delete(raw);
  };
  app.addHook('preParsing', (request, reply, payload, done) => {
    const { raw } = request;
    const { 'content-length': length = '0', 'transfer-encoding': encoding } = raw.headers;
    if (length === '0' && encoding === undefined) return done(null, payload);
    held.set(raw, 0);
    // Whoever collects the body stops listening when it is too long, while the rest of it still comes.
    raw.on('error', () => {});
    raw.on('data', (chunk: Buffer) => {
      const own = held.get(raw);
      if (own === undefined) return;
      held.set(raw, own + chunk.length);
      heldBytes += chunk.length;
      if (heldBytes <= maxBytes) return;
      release(raw);
      // Whoever collects the body hears of it, and answers with the problem.
      raw.emit('error', new TooManyBodies(maxBytes));
    });
    // With a listener it would flow before the one who collects it listens.
    raw.pause();
    reply.raw.once('close', () => release(raw));
    done(null, payload);
  });
  // It has come whole and belongs to its route.
  app.addHook('preValidation', (request, _reply, done) => {
    release(request.raw);
    done();
  });
}

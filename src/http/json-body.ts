// JSON bodies as text: what cannot be kept and shown as it was sent is refused before anybody sees it.
import { isUtf8 } from 'node:buffer';
import { UnsupportedMediaType, ValidationFailed } from '../errors.js';
import { findLoneSurrogates } from '../lib/lone-surrogates.js';
import type { Server } from './server.js';

const CHARSETS = /;\s*charset\s*=\s*("[^"]*"|[^\s;]*)/gi;
const UTF8 = /^"?utf-?8"?$/i;

/** JSON and nothing else: a form or plain text is what a web page can send without asking. JSON with `__proto__`
 *  members is refused. No body at all counts as `{}`, so that what is missing has a name. */
export function acceptJson(app: Server): void {
  const parse = app.getDefaultJsonParser('error', 'error');
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (request, body, done) => {
    const type = request.headers['content-type'] ?? '';
    if (Array.from(type.matchAll(CHARSETS)).some(([, charset]) => !UTF8.test(charset!)))
      return done(new UnsupportedMediaType(type));
    if (body.length === 0) return done(null, undefined);
    if (!isUtf8(body as Buffer)) return done(notUtf8(body as Buffer));
    const text = body.toString('utf8');
    parse(request, text, (error, parsed) => {
      if (error) return done(error);
      const violations = findLoneSurrogates(text, parsed, '/body');
      done(violations.length > 0 ? new ValidationFailed(violations) : null, parsed);
    });
  });
  app.addHook('preValidation', (request, _reply, done) => {
    if (request.body === undefined && request.routeOptions.schema?.body) request.body = {};
    done();
  });
}

function notUtf8(body: Buffer): ValidationFailed {
  const decoded = Buffer.from(body.toString('utf8'));
  const first = body.findIndex((byte, index) => byte !== decoded[index]);
  return new ValidationFailed([
    { where: '/body', rule: `must be valid UTF-8; what begins at byte ${first} is not` },
  ]);
}

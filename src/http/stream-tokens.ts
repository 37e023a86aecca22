// Short-lived tokens with which a browser reads the events of one session. A browser can send no Authorization header with
// a WebSocket or an EventSource, and an API key has no place in a URL or a page. A token is signed, not stored: the secret
// is this process's own, so a restart ends all tokens, and nothing that can be read from the store opens a stream.
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';

/** What a token opens: the events of one session. */
export interface TokenGrant {
  readonly tenant: string;
  /** Internal id of the session. */
  readonly session: string;
}

interface Claims extends TokenGrant {
  readonly expiresAt: number;
}

const PREFIX = 'cwt_';

export function isStreamToken(text: string): boolean {
  return text.startsWith(PREFIX);
}

export class StreamTokens {
  readonly #secret = randomBytes(32);
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  issue({ tenant, session }: TokenGrant, ttlSeconds: number): { token: string; expiresAt: string } {
    const claims: Claims = { tenant, session, expiresAt: this.#now() + ttlSeconds * 1000 };
    const payload = Buffer.from(JSON.stringify(claims)).toString('base64url');
    return {
      token: `${PREFIX}${payload}.${this.#sign(payload).toString('base64url')}`,
      expiresAt: new Date(claims.expiresAt).toISOString(),
    };
  }

  /** Undefined for one that is not ours, was changed, or has expired. */
  read(token: string): TokenGrant | undefined {
    const [, payload, signature] = /^cwt_([\w-]{1,1000})\.([\w-]{43})$/.exec(token) ?? [];
    if (payload === undefined || signature === undefined) return undefined;
    if (!timingSafeEqual(Buffer.from(signature, 'base64url'), this.#sign(payload))) return undefined;
    const { tenant, session, expiresAt } = JSON.parse(
      Buffer.from(payload, 'base64url').toString('utf8'),
    ) as Claims;
    return this.#now() < expiresAt ? { tenant, session } : undefined;
  }

  #sign(payload: string): Buffer {
    return createHmac('sha256', this.#secret).update(payload).digest();
  }
}

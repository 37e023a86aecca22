import { Duplex } from 'node:stream';
import { connect } from 'node:tls';

/** What Node's own TLS client says first. */
export function greeting(servername: string | undefined): Promise<Buffer> {
  return new Promise((resolve) => {
    const wire = new Duplex({ read() {}, write: (chunk: Buffer) => resolve(chunk) });
    connect({ socket: wire, ...(servername === undefined ? {} : { servername }) }).on('error', () => {});
  });
}

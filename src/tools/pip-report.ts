// What pip installed, as our own starter of pip says it (`python/pip.py`): behind all of pip's output, after a mark that
// nobody in the session can know. pip's lines also repeat what stands in files of the session, so they prove nothing.
import { randomBytes } from 'node:crypto';
import type { InstalledPackage } from './pip-output.js';

/** Far more than the names and versions of a few thousand packages. */
const MAX_REPORT_BYTES = 4 * 1024 * 1024;
const RECORD_SEPARATOR = 0x1e;

/** A name (PEP 503 allows more ways to write it, and no other characters) and a version (PEP 440, local ones included). */
const NAME = /^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?$/;
const VERSION = /^[A-Za-z0-9](?:[A-Za-z0-9.!+_-]{0,126}[A-Za-z0-9])?$/;

export const isPackage = ({ name, version }: InstalledPackage) => NAME.test(name) && VERSION.test(version);

export class PipReport {
  /** What the starter writes before its report. */
  readonly mark = `\x1e${randomBytes(16).toString('hex')}`;
  #held = Buffer.alloc(0);
  #report: Buffer[] | undefined;
  #reportBytes = 0;

  /** The part of pip's standard output that is to be shown. */
  shown(chunk: Buffer): Buffer {
    if (this.#report) {
      this.#collect(chunk);
      return Buffer.alloc(0);
    }
    const bytes = this.#held.length > 0 ? Buffer.concat([this.#held, chunk]) : chunk;
    const at = bytes.indexOf(this.mark);
    if (at >= 0) {
      this.#held = Buffer.alloc(0);
      this.#report = [];
      this.#collect(bytes.subarray(at + this.mark.length));
      return bytes.subarray(0, at);
    }
    // A mark that has only begun is held until it is known to be none.
    const begun = bytes.lastIndexOf(RECORD_SEPARATOR);
    const isBegun = begun >= 0 && this.mark.startsWith(bytes.subarray(begun).toString('latin1'));
    this.#held = isBegun ? Buffer.from(bytes.subarray(begun)) : Buffer.alloc(0);
    return isBegun ? bytes.subarray(0, begun) : bytes;
  }

  /** What pip put in place, by name; undefined when there is no report, or none that can be read. */
  installed(): InstalledPackage[] | undefined {
    if (!this.#report || this.#reportBytes > MAX_REPORT_BYTES) return undefined;
    try {
      const said = JSON.parse(Buffer.concat(this.#report).toString('utf8')) as [string, string][];
      const packages = said.map(([name, version]) => ({ name, version })).filter(isPackage);
      return packages.sort((a, b) => (a.name < b.name ? -1 : 1));
    } catch {
      return undefined;
    }
  }

  #collect(bytes: Buffer): void {
    this.#reportBytes += bytes.length;
    if (this.#reportBytes <= MAX_REPORT_BYTES) this.#report!.push(bytes);
  }
}

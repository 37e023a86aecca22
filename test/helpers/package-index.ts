// A package index (PEP 503) on a loopback port, with packages that show one behaviour of pip each.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import type { Test } from 'tap';
import { makeWheel, type WheelSpec } from './wheel.js';

export interface PackageIndex {
  /** For `PIP_INDEX_URL`. */
  readonly url: string;
  /** `host:port` of the index and of its files. */
  readonly hosts: readonly string[];
  /** Paths that were asked for, in order. */
  readonly requests: readonly string[];
  /** `Authorization` headers that came. */
  readonly passwords: readonly string[];
}

interface IndexFile {
  readonly project: string;
  readonly filename: string;
  readonly bytes: Buffer;
  /** What the index says it is. */
  readonly sha256: string;
}

/** The folder of real wheels for tests that want some; undefined, and such a test skips, when there is none. */
export const realWheelsFolder: string | undefined = process.env.CODEGEN_TEST_WHEELS;

export interface IndexOptions {
  readonly folder?: string;
  /** More packages. */
  readonly wheels?: readonly WheelSpec[];
  /** Files of which only the beginning is sent, and no end. */
  readonly hold?: (filename: string) => boolean;
}

/** Serves the packages of `handMade`, or a folder of real wheels, until the test ends. */
export async function startPackageIndex(
  t: Test,
  { folder, wheels = [], hold = () => false }: IndexOptions = {},
): Promise<PackageIndex> {
  const files = folder === undefined ? [...handMade(), ...wheels.map(wheelFile)] : filesOfFolder(folder);
  const requests: string[] = [];
  const passwords: string[] = [];
  const server = createServer((request, response) => {
    if (request.headers.authorization) passwords.push(request.headers.authorization);
    const path = decodeURIComponent((request.url ?? '').split('?')[0] ?? '');
    requests.push(path);
    const file = files.find(({ filename }) => path === `/files/${filename}`);
    if (file && hold(file.filename)) return response.writeHead(200).write(file.bytes.subarray(0, 100));
    if (file) return response.end(file.bytes);
    const project = /^\/simple\/([^/]+)\/$/.exec(path)?.[1];
    const listed = files.filter((candidate) => candidate.project === project);
    if (listed.length === 0) return response.writeHead(404).end();
    const links = listed.map(
      ({ filename, sha256 }) => `<a href="../../files/${filename}#sha256=${sha256}">${filename}</a><br>`,
    );
    return response
      .setHeader('content-type', 'text/html')
      .end(`<!doctype html><html><body>${links.join('\n')}</body></html>`);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url: `http://${host}/simple/`, hosts: [host], requests, passwords };
}

/** - `tinypkg` 1.0 and 1.1 need `tinydep` 2.0
 *  - `pinned` 2.3.0 and 2.4.0
 *  - `tinytool` 1.0 brings the program `tinytool`, which prints its arguments
 *  - `wheel` 0.38.4, for the README, which has the real one in mind
 *  - `sdistonly` 1.0 would have to be built, which runs its code
 *  - `brokenhash` 1.0 is not what the index says it is */
function handMade(): IndexFile[] {
  const wheels = [
    makeWheel({ name: 'tinypkg', version: '1.0', requires: ['tinydep>=2'] }),
    makeWheel({ name: 'tinypkg', version: '1.1', requires: ['tinydep>=2'] }),
    makeWheel({ name: 'tinydep', version: '2.0' }),
    makeWheel({ name: 'pinned', version: '2.3.0' }),
    makeWheel({ name: 'pinned', version: '2.4.0' }),
    makeWheel({ name: 'wheel', version: '0.38.4' }),
    makeWheel({
      name: 'tinytool',
      version: '1.0',
      scripts: { tinytool: 'tinytool:main' },
      files: { 'tinytool.py': 'import sys\n\n\ndef main():\n    print("tinytool", *sys.argv[1:])\n' },
    }),
  ];
  const broken = makeWheel({ name: 'brokenhash', version: '1.0' });
  const source = gzipSync('never unpacked: only wheels are installed');
  return [
    ...wheels.map(({ filename, bytes }) => indexFile(filename, bytes)),
    indexFile('sdistonly-1.0.tar.gz', source),
    { ...indexFile(broken.filename, broken.bytes), sha256: sha256('something else') },
  ];
}

function filesOfFolder(folder: string): IndexFile[] {
  return readdirSync(folder)
    .filter((name) => name.endsWith('.whl'))
    .map((name) => indexFile(name, readFileSync(join(folder, name))));
}

function wheelFile(spec: WheelSpec): IndexFile {
  const { filename, bytes } = makeWheel(spec);
  return indexFile(filename, bytes);
}

function indexFile(filename: string, bytes: Buffer): IndexFile {
  const project = (filename.split('-')[0] ?? '').toLowerCase().replace(/[-_.]+/g, '-');
  return { project, filename, bytes, sha256: sha256(bytes) };
}

function sha256(data: string | Buffer): string {
  return createHash('sha256').update(data).digest('hex');
}

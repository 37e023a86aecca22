// Stack traces that name lines of the TypeScript sources. Node's --enable-source-maps reads the map of every module as it is
// loaded, a tenth of the service's start; here a map is read when an error first needs it.
import { readFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { fileURLToPath } from 'node:url';

/** The compiled sources, as modules of ours are named in a trace. */
const OURS = new URL('..', import.meta.url).href;

const maps = new Map<string, SourceMap | null>();

/** From now on, for every error of this thread. */
export function traceSources(): void {
  Error.prepareStackTrace = (error, sites) =>
    [headOf(error), ...sites.map((site) => `    at ${inSource(site)}`)].join('\n');
}

function headOf(error: Error): string {
  try {
    return String(error);
  } catch {
    return 'Error';
  }
}

function inSource(site: NodeJS.CallSite): string {
  const shown = String(site);
  const file = site.getFileName();
  const [line, column] = [site.getLineNumber(), site.getColumnNumber()];
  if (!file?.startsWith(OURS) || line === null || column === null) return shown;
  const entry = mapOf(file)?.findEntry(line - 1, column - 1);
  if (!entry || !('originalSource' in entry)) return shown;
  const source = fileURLToPath(new URL(entry.originalSource, file));
  return shown.replace(
    `${file}:${line}:${column}`,
    `${source}:${entry.originalLine + 1}:${entry.originalColumn + 1}`,
  );
}

function mapOf(file: string): SourceMap | null {
  let map = maps.get(file);
  if (map === undefined) {
    map = readMap(file);
    maps.set(file, map);
  }
  return map;
}

function readMap(file: string): SourceMap | null {
  try {
    return new SourceMap(JSON.parse(readFileSync(new URL(`${file}.map`), 'utf8')));
  } catch {
    // Then the compiled line has to do.
    return null;
  }
}

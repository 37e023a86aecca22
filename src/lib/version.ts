import { readFileSync } from 'node:fs';

/** The package's version; package.json lies beside the build folder. */
export const VERSION: string = JSON.parse(
  readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'),
).version;

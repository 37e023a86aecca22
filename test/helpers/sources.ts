// The files of the clone, for tests that hold the sources themselves to a rule.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The clone; tests run from `build/test`. */
export const root = join(import.meta.dirname, '../../..');

const NOT_OURS = /^(\.git|\.tap|node_modules|data|coverage|build.*)$/;

/** Paths below the clone of everything that is ours, as git would list it. */
export function ourFiles(folder = ''): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true })
    .filter((entry) => !NOT_OURS.test(entry.name) && entry.name !== '__pycache__')
    .flatMap((entry) => {
      const path = join(folder, entry.name);
      return entry.isDirectory() ? ourFiles(path) : [path];
    });
}

export function readOurs(path: string): string {
  return readFileSync(join(root, path), 'utf8');
}

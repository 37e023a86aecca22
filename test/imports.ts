// Keeps the import direction of docs/architecture.md true.
import { dirname, join } from 'node:path';
import t from 'tap';
import { ourFiles, readOurs } from './helpers/sources.js';

const BASE = ['config', 'errors', 'lib', 'observability'];
const KEPT = ['events', 'store', 'blobs'];
const DOMAINS = ['sessions', 'tasks', 'checkpoints', 'artifacts'];

/** What each folder of `src` may import from, besides itself. */
const MAY_IMPORT: Record<string, readonly string[]> = {
  lib: [],
  errors: ['lib'],
  config: ['lib'],
  observability: ['lib', 'errors', 'config'],
  sandbox: BASE,
  store: BASE,
  blobs: BASE,
  events: [...BASE, 'store'],
  tools: [...BASE, 'sandbox'],
  ...Object.fromEntries(
    DOMAINS.map((domain) => [domain, [...BASE, ...KEPT, ...DOMAINS, 'tools', 'sandbox']]),
  ),
  http: [...BASE, ...KEPT, ...DOMAINS, 'tools', 'sandbox'],
  client: [...BASE, ...KEPT, ...DOMAINS, 'tools', 'http'],
};
/** These see everything: the composition root, and the programs that start from it. */
const ROOTS = ['app', 'foundations', 'main', 'cli'];

const folderOf = (file: string) => (file.split('/')[1] ?? '').replace(/\.ts$/, '');

function forbidden(file: string, target: string): boolean {
  const [from, to] = [folderOf(file), folderOf(target)];
  if (from === to || ROOTS.includes(from)) return false;
  if ((MAY_IMPORT[from] ?? []).includes(to)) return false;
  // The isolation levels are written once, where they are made.
  if (from === 'config' && target === 'src/sandbox/sandbox.ts') return false;
  // A schema is a shape and no behaviour; events and tools speak of sessions and tasks.
  if (target.endsWith('/schema.ts') && (from === 'events' || from === 'tools')) return false;
  // Routes are the door of a folder to HTTP, and made of HTTP's parts.
  if (/\/routes(-[a-z]+)*\.ts$|-routes\.ts$/.test(file) && to === 'http') return false;
  return true;
}

function importsOf(file: string): string[] {
  const specifiers = [...readOurs(file).matchAll(/(?:from|import)\s*\(?\s*'(\.[^']*)'/g)];
  return specifiers.map(([, specifier]) => join(dirname(file), specifier ?? '').replace(/\.js$/, '.ts'));
}

t.test('imports go one way', async (t) => {
  const sources = ourFiles('src').filter((file) => file.endsWith('.ts'));
  const wrong = sources.flatMap((file) =>
    importsOf(file)
      .filter((target) => forbidden(file, target))
      .map((target) => `${file} imports ${target}`),
  );
  t.same(wrong, []);
});

t.test('every folder of src has its place in the order', async (t) => {
  const folders = new Set(
    ourFiles('src')
      .filter((file) => file.endsWith('.ts'))
      .map(folderOf),
  );
  const placed = [...Object.keys(MAY_IMPORT), ...ROOTS];
  t.same(
    [...folders].filter((folder) => !placed.includes(folder)),
    [],
  );
});

t.test('an import against the order is seen', async (t) => {
  t.ok(forbidden('src/sandbox/agent.ts', 'src/sessions/schema.ts'));
  t.ok(forbidden('src/tasks/executor.ts', 'src/http/auth.ts'));
  t.ok(forbidden('src/lib/ids.ts', 'src/errors.ts'));
  t.notOk(forbidden('src/tasks/routes.ts', 'src/http/auth.ts'));
});

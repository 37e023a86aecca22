// `codegen-worker openapi`: prints the document; writes or checks everything that is generated from the code.
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { generatedFiles, openapiDocument } from './generated.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));

export async function runOpenapi(argv: readonly string[]): Promise<number> {
  switch (argv[0]) {
    case undefined:
      process.stdout.write(`${JSON.stringify(await openapiDocument(), null, 2)}\n`);
      return 0;
    case '--write':
      for (const [path, text] of await generatedFiles(ROOT)) await writeFile(join(ROOT, path), text);
      return 0;
    case '--check':
      return check();
    default:
      process.stderr.write('Usage: codegen-worker openapi [--write | --check]\n');
      return 2;
  }
}

async function check(): Promise<number> {
  let stale = 0;
  for (const [path, text] of await generatedFiles(ROOT)) {
    if ((await readFile(join(ROOT, path), 'utf8').catch(() => '')) === text) continue;
    stale += 1;
    process.stderr.write(`stale: ${relative(process.cwd(), join(ROOT, path))}\n`);
  }
  if (stale > 0) process.stderr.write('Run: node build/src/cli/main.js openapi --write\n');
  return stale > 0 ? 1 : 0;
}

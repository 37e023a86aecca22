// What is written from the code and committed: the API documents, and the tables inside two pages.
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { buildApp } from '../app.js';
import { describeSettings, loadConfig } from '../config.js';
import { asyncapiDocument } from '../events/asyncapi.js';
import { describeErrors } from '../http/error-examples.js';
import type { OpenApiDocument } from '../http/openapi-finish.js';
import { Problem } from '../http/problem-schema.js';

/** The document of an unconfigured service, which is built and neither started nor listening. */
export async function openapiDocument(): Promise<OpenApiDocument> {
  const config = loadConfig({ DATA_DIR: join(tmpdir(), 'codegen-worker-openapi') });
  const app = await buildApp(config, { log: pino({ level: 'silent' }) });
  const document: OpenApiDocument = (await app.server.inject('/openapi.json')).json();
  await app.close();
  return document;
}

/** Path and contents of every generated file below the package's root. */
export async function generatedFiles(root: string): Promise<Map<string, string>> {
  return new Map([
    ['openapi/openapi.json', json(await openapiDocument())],
    ['openapi/asyncapi.json', json(asyncapiDocument({ problem: Problem }))],
    ['docs/configuration.md', await page(root, 'docs/configuration.md', 'settings', describeSettings())],
    ['docs/api.md', await page(root, 'docs/api.md', 'errors', describeErrors())],
  ]);
}

function json(document: unknown): string {
  return `${JSON.stringify(document, null, 2)}\n`;
}

/** The page with the table between its markers replaced. */
async function page(root: string, path: string, name: string, table: string): Promise<string> {
  const text = await readFile(join(root, path), 'utf8');
  const [before, rest = ''] = text.split(`<!-- ${name} -->\n`);
  const [, after = ''] = rest.split(`<!-- /${name} -->`);
  return `${before}<!-- ${name} -->\n\n${table}\n\n<!-- /${name} -->${after}`;
}

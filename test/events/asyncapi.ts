import { createRequire } from 'node:module';
import { Ajv } from 'ajv';
import t from 'tap';
import { asyncapiDocument } from '../../src/events/asyncapi.js';
import { CLOSE } from '../../src/events/connection.js';
import { EVENT_SCHEMAS } from '../../src/events/schema.js';
import { Problem } from '../../src/http/problem-schema.js';

const document = asyncapiDocument({ problem: Problem });
const text = JSON.stringify(document);

t.test('the document keeps to the AsyncAPI schema', async (t) => {
  const schema = createRequire(import.meta.url)('@asyncapi/specs/schemas/3.0.0-without-$id.json');
  const ajv = new Ajv({ strict: false, allErrors: true, validateFormats: false });
  const validate = ajv.compile(schema);
  validate(document);
  t.same(validate.errors, null);
});

t.test('every reference leads somewhere', async (t) => {
  for (const [, pointer] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    const target = pointer!
      .split('/')
      .reduce<unknown>((found, name) => (found as Record<string, unknown> | undefined)?.[name], document);
    t.ok(target, pointer!);
  }
  t.notMatch(text, '"$id"');
});

t.test('every event and every close code is in it', async (t) => {
  for (const { properties } of EVENT_SCHEMAS) t.ok(text.includes(`"name":"${properties.type.const}"`));
  const { channels } = document as { channels: Record<string, { description: string }> };
  for (const [name, { description }] of Object.entries(channels)) {
    for (const code of [...Object.values(CLOSE), 1009])
      t.match(description, `| ${code} |`, `${code} in ${name}`);
  }
});

import { Type } from '@sinclair/typebox';
import t from 'tap';
import { checkCompiler } from '../../src/http/validation.js';
import { closed, discriminated, nullable, ref, stringEnum } from '../../src/lib/typebox.js';
import { CreateSession, LimitsInput, Metadata, Network } from '../../src/sessions/schema.js';

const Cat = closed({ kind: Type.Literal('cat'), lives: Type.Integer() }, { $id: 'Cat' });
const Dog = closed({ kind: Type.Literal('dog') }, { $id: 'Dog' });

const schemas = { Metadata, LimitsInput, Network, CreateSession, Cat, Dog };
const compile = checkCompiler(schemas, 'json');
const rulesOf = (schema: unknown, data: unknown) =>
  compile(schema, '/body')(data).map(({ where, given, rule }) => [where, given, rule]);

t.test('each rule is told in words, with the place and what was given', async (t) => {
  for (const [schema, data, rule] of [
    [Type.Integer(), 'x', 'must be an integer'],
    [Type.String(), 1, 'must be a string'],
    [Type.Integer({ minimum: 32 }), 8, 'must be at least 32'],
    [Type.Integer({ maximum: 9 }), 10, 'must be at most 9'],
    [Type.Number({ exclusiveMinimum: 0 }), 0, 'must be more than 0'],
    [Type.Number({ exclusiveMaximum: 1 }), 1, 'must be less than 1'],
    [Type.String({ minLength: 1 }), '', 'must not be empty'],
    [Type.String({ minLength: 3 }), 'ab', 'must have at least 3 characters'],
    [Type.String({ maxLength: 2 }), 'abc', 'must have at most 2 characters, has 3'],
    [Type.Literal('cat'), 'dog', 'must be "cat"'],
    [
      stringEnum(['none', 'allowlist']),
      'alowlist',
      'must be one of: none, allowlist; did you mean "allowlist"?',
    ],
    [Type.String({ pattern: '^a$' }), 'b', 'must match ^a$'],
    [Type.String({ format: 'date-time' }), 'now', 'must be an RFC 3339 time such as 2026-11-22T21:03:05Z'],
    [Type.String({ format: 'ipv4' }), 'now', 'must be a ipv4'],
  ] as const) {
    t.strictSame(rulesOf(schema, data), [['/body', data, rule]]);
  }
  t.strictSame(rulesOf(Type.Array(Type.Integer(), { maxItems: 1 }), [1, 2]), [
    ['/body', 'array of 2', 'must have at most 1 items, has 2'],
  ]);
  t.strictSame(rulesOf(Type.Array(Type.Integer(), { minItems: 1 }), []), [
    ['/body', 'array of 0', 'must not be empty'],
  ]);
  t.strictSame(rulesOf(Type.Array(Type.Integer(), { uniqueItems: true }), [4, 4]), [
    ['/body', 'array of 2', 'must not repeat an item (1 and 0 are the same)'],
  ]);
});

t.test('an id of the client that does not fit is told in words and not as a pattern', async (t) => {
  t.strictSame(rulesOf(ref(CreateSession), { sessionId: '../x' }), [
    ['/body/sessionId', '../x', 'must be 1 to 128 of A–Z a–z 0–9 . _ -, the first a letter or digit'],
  ]);
});

t.test('a value that may also be null is told about once', async (t) => {
  const schema = closed({ seconds: nullable(Type.Integer({ minimum: 1 })) });
  t.strictSame(rulesOf(schema, { seconds: 0 }), [['/body/seconds', 0, 'must be at least 1']]);
  t.strictSame(rulesOf(schema, { seconds: 'x' }), [['/body/seconds', 'x', 'must be an integer or null']]);
  t.strictSame(rulesOf(schema, { seconds: null }), []);
});

t.test('of several shapes only the one that was meant is talked about', async (t) => {
  const pet = discriminated('kind', [Cat, Dog]);
  t.strictSame(rulesOf(pet, { kind: 'cat', lives: 'nine' }), [['/body/lives', 'nine', 'must be an integer']]);
  t.match(rulesOf(pet, { kind: 'bird' }), [['/body', 'object with kind', 'kind is not a known one']]);
});

t.test('names of a map are checked like values', async (t) => {
  t.match(rulesOf(ref(CreateSession), { env: { '1X': 'a' } }), [
    ['/body/env/1X', 'a', /^the name must be 1 to 128 of A–Z a–z 0–9 _/],
  ]);
  t.match(rulesOf(ref(CreateSession), { metadata: { '': 'a' } }), [
    ['/body/metadata/', 'a', /^the name must be 1 to 128/],
  ]);
});

t.test('pointers are escaped, and long names and values shortened', async (t) => {
  const [tilde] = rulesOf(closed({}), { 'a/b~c': 1 });
  t.equal(tilde![0], '/body/a~1b~0c');
  const [long] = rulesOf(closed({ a: Type.Integer() }), { a: 'x'.repeat(10_000) });
  t.equal((long![1] as string).length, 201);
  const [name] = rulesOf(closed({}), { ['y'.repeat(10_000)]: 1 });
  t.ok((name![0] as string).length < 300);
});

t.test('what was given is never walked into', async (t) => {
  let deep: unknown = 1;
  for (let i = 0; i < 100_000; i++) deep = { deep };
  t.strictSame(rulesOf(closed({ a: Type.Integer() }), { a: deep }), [
    ['/body/a', 'object with deep', 'must be an integer'],
  ]);
});

t.test('all errors of a small value are told, twenty at most, and the first of a large one', async (t) => {
  const list = Type.Array(Type.Integer());
  t.equal(
    rulesOf(
      list,
      Array.from({ length: 19 }, () => 'x'),
    ).length,
    19,
  );
  t.equal(
    rulesOf(
      list,
      Array.from({ length: 100 }, () => 'x'),
    ).length,
    20,
  );
  t.equal(
    rulesOf(
      list,
      Array.from({ length: 5000 }, () => 'x'),
    ).length,
    1,
  );
});

t.test('defaults are filled in and unknown members are never dropped', async (t) => {
  const check = compile(closed({ a: Type.Optional(Type.Integer({ default: 5 })) }), '/body');
  const data: Record<string, unknown> = {};
  t.strictSame(check(data), []);
  t.strictSame(data, { a: 5 });
  const more = { b: 1 };
  t.equal(check(more).length, 1);
  t.ok('b' in more);
});

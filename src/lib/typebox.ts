import {
  type ObjectOptions,
  type SchemaOptions,
  type Static,
  type TProperties,
  type TSchema,
  Type,
} from '@sinclair/typebox';

/** Pattern of a text that is kept, compared and shown: SQLite and the kernel would end it at a NUL. */
export const NO_NUL = '^[^\\u0000]*$';

/** An object that refuses members it does not know, so that a misspelt field is an error and not silence. */
export function closed<T extends TProperties>(properties: T, options: ObjectOptions = {}) {
  return Type.Object(properties, { additionalProperties: false, ...options });
}

/** A string out of a list, written as `enum` (TypeBox's union of literals becomes `anyOf`, which SDKs read badly). */
export function stringEnum<const T extends readonly string[]>(values: T, options: SchemaOptions = {}) {
  return Type.Unsafe<T[number]>({ type: 'string', enum: [...values], ...options });
}

/** A reference to a schema that has an `$id`: one named component in the OpenAPI document, one type here. */
export function ref<T extends TSchema>(schema: T, options: SchemaOptions = {}) {
  if (!schema.$id) throw new Error('only a schema with an $id can be referred to');
  return Type.Unsafe<Static<T>>({ $ref: `${schema.$id}#`, ...options });
}

/** The schema, or null. */
export function nullable<T extends TSchema>(schema: T, options: SchemaOptions = {}) {
  return Type.Unsafe<Static<T> | null>({ anyOf: [schema, { type: 'null' }], ...options });
}

/** One of several object schemas, told apart by the literal value of one of their members. */
export function discriminated<T extends TSchema[]>(
  propertyName: string,
  schemas: T,
  options: SchemaOptions = {},
) {
  return Type.Unsafe<Static<T[number]>>({
    type: 'object',
    oneOf: schemas.map((schema) => ({ $ref: `${schema.$id}#` })),
    discriminator: { propertyName },
    ...options,
  });
}

/** A time: RFC 3339 in UTC, with milliseconds. */
export const Timestamp = (options: SchemaOptions = {}) =>
  Type.String({ format: 'date-time', examples: ['2026-11-22T21:03:05.123Z'], ...options });

// The schemas that have a name: one component each in the OpenAPI document, referred to by their `$id`.
import type { TSchema } from '@sinclair/typebox';
import * as checkpoints from '../checkpoints/schema.js';
import * as events from '../events/schema.js';
import * as sessions from '../sessions/schema.js';
import * as tasks from '../tasks/schema.js';
import { Problem } from './problem-schema.js';
import type { Server } from './server.js';
import * as service from './service-schema.js';

/** Registers every named schema of the domains; tools and routes add their own. */
export function addSharedSchemas(app: Server): void {
  app.addSchema(Problem);
  for (const domain of [sessions, tasks, events, checkpoints, service]) {
    for (const schema of Object.values(domain)) if (isNamed(schema)) app.addSchema(schema);
  }
}

function isNamed(value: unknown): value is TSchema {
  return typeof value === 'object' && value !== null && typeof (value as TSchema).$id === 'string';
}

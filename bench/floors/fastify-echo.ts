// What Fastify alone does with a JSON body that it checks and answers.

import type { AddressInfo } from 'node:net';
import { Type } from '@sinclair/typebox';
import Fastify from 'fastify';

const body = Type.Object({ tool: Type.String(), arguments: Type.Object({ message: Type.String() }) });
const app = Fastify();
app.post('/echo', { schema: { body, response: { 200: body } } }, async (request) => request.body);
await app.listen({ port: 0, host: '127.0.0.1' });
process.send!({ port: (app.server.address() as AddressInfo).port });

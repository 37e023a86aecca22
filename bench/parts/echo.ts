// What the service adds to its HTTP server, and what it costs to have a task on disk before it is accepted.
import { join } from 'node:path';
import Database from 'libsql';
import type { Part } from '../bench.js';
import { startFloor } from '../floors/child.js';
import { asker, rateOf } from '../load.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import { median, summarize } from '../row.js';

const CONNECTIONS = 32;
const BODY = { tool: 'echo', arguments: { message: 'hello' } };

export const echo: Part = {
  name: 'echo',
  async run(bench) {
    const { pairs: count, rounds, seconds } = bench.effort;
    const fastify = await startFloor(bench, 'fastify-echo');
    const service = await bench.service({ MAX_QUEUED_TASKS: '100000' });
    const sessions = await Promise.all(Array.from({ length: CONNECTIONS }, () => service.session()));
    const plain = { port: fastify.port, path: '/echo', body: BODY };
    const waiting = (n: number) => ({
      port: service.port,
      path: `/v1/sessions/${sessions[n]}/tasks?wait=60`,
      body: BODY,
    });
    const accepting = { port: service.port, path: `/v1/sessions/${sessions[1]}/tasks`, body: BODY };

    const [one, whole, accepted] = await Promise.all([asker(plain), asker(waiting(0)), asker(accepting)]);
    const latency = await inTurns(count * 3, {
      floor: () => timed(() => one.ask()),
      product: () => timed(() => whole.ask()),
    });
    const added = median(latency.product.map((value, index) => value - latency.floor[index]!));

    const commit = rawCommits(join(await bench.directory(), 'raw.db'));
    const durable = await inTurns(count * 3, {
      floor: async () => {
        const plainMs = await timed(() => one.ask());
        return plainMs + (await timed(async () => commit.once()));
      },
      product: async () => {
        const took = await timed(() => accepted.ask());
        // It runs after it was accepted: that is not to be part of the next one's time.
        await whole.ask();
        return took;
      },
    });
    const alone = await inTurns(count * 3, {
      floor: () => timed(() => one.ask()),
      product: () => timed(async () => commit.once()),
    });
    const addedByAcceptance = median(durable.product) - median(alone.floor);
    commit.close();
    for (const each of [one, whole, accepted]) each.close();

    const rate = await inTurns(rounds, {
      floor: () => rateOf(() => plain, CONNECTIONS, seconds),
      product: () => rateOf(waiting, CONNECTIONS, seconds),
    });
    return [
      {
        work: 'echo, 1 client: what is added to a plain POST',
        unit: 'ms',
        floor: { what: 'Fastify: a JSON POST', ...summarize(latency.floor) },
        product: summarize(latency.product),
        figure: { what: 'ms more', value: added },
        budget: { is: '≤', value: 1 },
      },
      {
        work: 'a task durable before its 202: what is added to a plain POST',
        unit: 'ms',
        floor: { what: 'one raw commit', ...summarize(alone.product) },
        product: summarize(durable.product),
        figure: { what: '× the commit', value: addedByAcceptance / median(alone.product) },
        budget: { is: '≤', value: 2 },
      },
      ratioRow(rate, {
        work: `echo, ${CONNECTIONS} connections`,
        unit: '/s',
        floorIs: 'Fastify: a JSON POST',
        budget: { is: '≥', value: 0.2 },
      }),
    ];
  },
};

/** A row in a file as our store keeps it, and the disk waited for. */
function rawCommits(path: string) {
  const db = new Database(path);
  db.exec(
    'pragma journal_mode = wal; pragma synchronous = full; create table rows (id integer primary key, text)',
  );
  const insert = db.prepare('insert into rows (text) values (?)');
  return { once: () => insert.run(JSON.stringify(BODY)), close: () => db.close() };
}

// The worker thread that reads: on a connection of its own, so that neither waits for the other.
import { type MessagePort, parentPort, type Transferable, workerData } from 'node:worker_threads';
import { openDatabase } from './database.js';
import type { Rows } from './dialect.js';
import { toFailure } from './failure.js';
import { Statements } from './statements.js';
import type { FromWorker, ToWorker } from './worker-client.js';

export interface Query {
  readonly id: number;
  readonly sql: string;
  readonly parameters: readonly unknown[];
}

const port = parentPort as MessagePort;
const db = openDatabase((workerData as { path: string }).path);
db.exec('pragma query_only = on');
const statements = new Statements(db);

port.on('message', (message: ToWorker<Query>) => {
  if (message === 'close') {
    db.close();
    port.close();
    return;
  }
  // Each is answered by itself: one that takes long holds up no answer to another.
  for (const query of message) answer(query);
});

function answer({ id, sql, parameters }: Query): void {
  try {
    const { columns, rows } = statements.get(sql).all(parameters);
    const answer: FromWorker<Rows> = { answers: [{ id, columns, rows }] };
    port.postMessage(answer, blobsOf(rows));
  } catch (error) {
    const answer: FromWorker<Rows> = { answers: [{ id, failure: toFailure(error) }] };
    port.postMessage(answer);
  }
}

const ready: FromWorker<Rows> = { ready: true };
port.postMessage(ready);

/** The memory of blobs moves to the service instead of being copied. */
function blobsOf(rows: readonly (readonly unknown[])[]): Transferable[] {
  const blobs: Transferable[] = [];
  for (const row of rows) {
    for (const value of row) {
      if (
        value instanceof Uint8Array &&
        value.byteLength === value.buffer.byteLength &&
        value.byteLength > 0
      ) {
        blobs.push(value.buffer as ArrayBuffer);
      }
    }
  }
  return blobs;
}

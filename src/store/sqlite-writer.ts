// The worker thread that owns the writing connection: what has arrived meanwhile is committed together.
import { type MessagePort, parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads';
import { type Database, openDatabase } from './database.js';
import { commitGroup, type Unit, type UnitResults } from './group-commit.js';
import { lockStore } from './lock.js';
import { migrate } from './migrations/migrate.js';
import { Statements } from './statements.js';
import { WalLimit } from './wal-limit.js';
import type { FromWorker, ToWorker } from './worker-client.js';

const WAL_BYTES = 64 * 1024 * 1024;

const port = parentPort as MessagePort;
const { path, lockPath } = workerData as { path: string; lockPath: string };
const send = (message: FromWorker<UnitResults>) => port.postMessage(message);

const opened: Database[] = [];
const close = () => {
  for (const db of opened.toReversed()) db.close();
  port.close();
};

try {
  opened.push(lockStore(lockPath));
  const db = openDatabase(path);
  opened.push(db);
  db.exec('pragma journal_mode = wal');
  db.exec('pragma synchronous = full');
  const walLimit = new WalLimit(db, path, WAL_BYTES);
  migrate(db);
  serve(db, walLimit);
  send({ ready: true });
} catch (error) {
  send({ ready: false, message: (error as Error).message });
  close();
}

function serve(db: Database, walLimit: WalLimit): void {
  const statements = new Statements(db);
  const waiting: Unit[] = [];
  let closing = false;
  const take = (message: ToWorker<Unit>): void => {
    if (message === 'close') closing = true;
    else waiting.push(...message);
  };
  const next = (): Unit | undefined => {
    if (waiting.length === 0 && !closing) {
      const received = receiveMessageOnPort(port);
      if (received) take(received.message);
    }
    return waiting.shift();
  };
  port.on('message', (message: ToWorker<Unit>) => {
    take(message);
    for (let first = waiting.shift(); first; first = waiting.shift()) {
      send({ answers: commitGroup(db, statements, first, next) });
      if (!closing) walLimit.keep();
    }
    if (closing) close();
  });
}

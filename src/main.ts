// The service as a program: read the settings, build, start, listen; close on a signal.
import { setFlagsFromString } from 'node:v8';
import closeWithGrace from 'close-with-grace';
import type { App } from './app.js';
import type { Config } from './config.js';
import { VERSION } from './lib/version.js';
import { traceSources } from './observability/stack-traces.js';
import type { IsolationReport } from './sandbox/sandbox.js';

/** On top of what tasks get to end: for killing them, the last events and the store. */
const CLOSE_MARGIN_MS = 20_000;
/** npm passes on what the terminal has sent to us already: so soon after the first it is no second signal. */
const SAME_SIGNAL_MS = 500;

traceSources();
// Loading leaves so much garbage that the heap's young generation would grow to its largest, and keep it: 15 MiB of an
// idle service. V8 reads this whenever it might grow; so what is large is loaded after it is said.
setFlagsFromString('--semi-space-growth-factor=1');
const { ConfigError, loadConfig } = await import('./config.js');
const { createLogger } = await import('./observability/logger.js');

const config = readSettings();
const log = createLogger({ level: config.LOG_LEVEL, format: config.LOG_FORMAT });
const building = build();
let isClosing = false;
// Before anything is awaited: as process 1 of a container we would not even hear a signal that nobody listens to.
closeOnSignals();

try {
  const app = await building;
  await app.start();
  const address = await app.listen();
  setFlagsFromString('--semi-space-growth-factor=2');
  tellWhatStands(app.isolation(), address);
} catch (error) {
  if (!isClosing) {
    await building.then((app) => app.close()).catch((err) => log.error({ err }, 'closing failed'));
    giveUp(error);
  }
}

/** One line with what an operator would ask for first, and one more when no task can run. */
function tellWhatStands({ level, limits, missing }: IsolationReport, address: string): void {
  const { cgroup, disk } = limits;
  const facts = { version: VERSION, isolation: level, limits: { cgroup, disk }, dataDir: config.DATA_DIR };
  log.info({ address, ...facts }, 'listening');
  if (level === null) log.error({ missing }, 'tasks are refused');
}

async function build(): Promise<App> {
  const { Foundations } = await import('./foundations.js');
  const foundations = new Foundations(config, log);
  // The start of the app waits for it, and tells what stands against it.
  foundations.start().catch(() => {});
  const { buildApp } = await import('./app.js');
  return buildApp(config, { log, foundations });
}

/** The first signal closes, the second gives tasks no more time, the third leaves everything as it is. */
function closeOnSignals(): void {
  const closer = closeWithGrace(
    {
      delay: config.SHUTDOWN_GRACE_SECONDS * 1000 + CLOSE_MARGIN_MS,
      logger: false as never,
      skip: ['SIGTERM', 'SIGINT'],
      onSecondError: (err) => log.fatal({ err }, 'second failure while closing'),
      onTimeout: (delayMs) => log.fatal({ delayMs }, 'closing took too long'),
    },
    async ({ signal, err, manual }) => {
      isClosing = true;
      if (err) log.fatal({ err }, 'failed');
      else if (!manual) log.info({ signal }, 'closing');
      await (await building).close();
      log.info('closed');
    },
  );
  let count = 0;
  let countedAt = Number.NEGATIVE_INFINITY;
  const take = (signal: NodeJS.Signals) => {
    if (performance.now() - countedAt < SAME_SIGNAL_MS) return;
    countedAt = performance.now();
    count += 1;
    if (count === 1) {
      log.info({ signal }, 'closing');
      void closer.close();
    } else if (count === 2) {
      log.warn({ signal }, 'second signal: tasks get no more time');
      void building.then((app) => app.hurry());
    } else {
      log.warn({ signal }, 'third signal: leaving at once');
      process.exit(1);
    }
  };
  process.on('SIGTERM', take).on('SIGINT', take);
}

function readSettings(): Config {
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`codegen-worker cannot start with these settings:\n${indent(error.message)}\n`);
    process.exit(1);
  }
}

function giveUp(error: unknown): never {
  log.debug({ err: error }, 'start failed');
  process.stderr.write(`codegen-worker cannot start:\n${indent(reason(error as NodeJS.ErrnoException))}\n`);
  process.exit(1);
}

function reason(error: NodeJS.ErrnoException): string {
  if (error.code === 'EADDRINUSE') {
    return `port ${config.PORT} of ${config.HOST} is in use; set PORT to another, or stop what listens there.`;
  }
  if (error.code === 'EACCES' && error.syscall === 'listen') {
    return `this user may not listen on port ${config.PORT}; set PORT to one from 1024 up.`;
  }
  const cause = error.cause instanceof Error ? `\n${error.cause.message}` : '';
  return `${error.message}${cause}`;
}

function indent(text: string): string {
  return text.replace(/^/gm, '  ');
}

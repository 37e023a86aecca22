// The service as a program: read the settings, build, start, listen; close on a signal.
import closeWithGrace from 'close-with-grace';
import { buildApp } from './app.js';
import { type Config, ConfigError, loadConfig } from './config.js';
import { createLogger } from './observability/logger.js';

/** On top of what tasks get to end: for killing them, the last events and the store. */
const CLOSE_MARGIN_MS = 20_000;

const config = readSettings();
const log = createLogger({ level: config.LOG_LEVEL, format: config.LOG_FORMAT });
const app = await buildApp(config, { log }).catch(giveUp);

closeWithGrace(
  {
    delay: config.SHUTDOWN_GRACE_SECONDS * 1000 + CLOSE_MARGIN_MS,
    logger: false as never,
    onSecondSignal: (signal) => log.warn({ signal }, 'second signal, leaving at once'),
    onSecondError: (err) => log.fatal({ err }, 'second failure while closing'),
    onTimeout: (delayMs) => log.fatal({ delayMs }, 'closing took too long'),
  },
  async ({ signal, err }) => {
    if (err) log.fatal({ err }, 'failed');
    else log.info({ signal }, 'closing');
    await app.close();
    log.info('closed');
  },
);

try {
  await app.start();
  log.info({ address: await app.listen() }, 'listening');
} catch (error) {
  await app.close().catch((err) => log.error({ err }, 'closing failed'));
  giveUp(error);
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

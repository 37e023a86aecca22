// One logger for the service: JSON lines, or readable ones on a terminal.
import { destination, type Logger as PinoLogger, pino, stdTimeFunctions } from 'pino';
import pretty from 'pino-pretty';

export type Logger = PinoLogger;

export interface LoggerOptions {
  readonly level: string;
  /** `auto` is pretty on a terminal and JSON otherwise. */
  readonly format: 'auto' | 'json' | 'pretty';
  readonly stream?: NodeJS.WritableStream & { isTTY?: boolean };
}

/** Where a secret could stand in what we log; the value is replaced before the line is written. */
const SECRET_PATHS = [
  'headers.authorization',
  'req.headers.authorization',
  'res.headers.authorization',
  '*.authorization',
  'authorization',
];

export function createLogger({ level, format, stream = process.stdout }: LoggerOptions): Logger {
  const readable = format === 'pretty' || (format === 'auto' && stream.isTTY === true);
  const sink = readable
    ? pretty({ destination: stream as never, colorize: stream.isTTY === true, ignore: 'pid,hostname' })
    : stream === process.stdout
      ? // Written at once: the last line before a crash is the one that is wanted.
        destination({ fd: 1, sync: true })
      : stream;
  return pino(
    {
      level,
      base: undefined,
      timestamp: stdTimeFunctions.isoTime,
      redact: { paths: SECRET_PATHS, censor: '[redacted]' },
      formatters: { level: (label) => ({ level: label }) },
    },
    sink as never,
  );
}

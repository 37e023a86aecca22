// Every setting, described once; read once, at the start. A wrong value stops the start with key, value and rule.
import { availableParallelism } from 'node:os';
import { resolve } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import { stringEnum } from './lib/typebox.js';
import { ISOLATION_LEVELS } from './sandbox/sandbox.js';

const Count = (defaultValue: number, description: string, minimum = 0) =>
  Type.Integer({ default: defaultValue, minimum, description });

export const Settings = Type.Object({
  HOST: Type.String({
    default: '127.0.0.1',
    description: 'Address to listen on. Beyond loopback API_KEYS is required.',
  }),
  PORT: Type.Integer({
    default: 8080,
    minimum: 0,
    maximum: 65535,
    description: 'Port to listen on; 0 for any free one.',
  }),
  DATA_DIR: Type.String({
    default: './data',
    description: 'Directory of everything kept: store, workspaces, checkpoints.',
  }),
  CHECKPOINT_DIR: Type.String({
    default: '',
    description: 'Directory of checkpoint archives. Default: DATA_DIR/checkpoints.',
  }),
  LOG_LEVEL: stringEnum(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], {
    default: 'info',
    description: 'Least level that is logged.',
  }),
  LOG_FORMAT: stringEnum(['auto', 'json', 'pretty'], {
    default: 'auto',
    description: 'auto: pretty on a terminal, JSON otherwise.',
  }),
  API_KEYS: Type.String({
    default: '',
    description:
      'Comma-separated bearer keys of at least 16 characters. Empty: no authentication, loopback only.',
  }),
  ALLOWED_HOSTS: Type.String({
    default: '',
    description: 'Comma-separated Host values to accept beyond loopback names when there are no API_KEYS.',
  }),
  ALLOWED_ORIGINS: Type.String({
    default: '',
    description: 'Comma-separated Origins of web pages that may call, besides our own.',
  }),
  MAX_SESSIONS: Count(50, 'Sessions that may exist at once.', 1),
  MAX_QUEUED_TASKS: Count(100, 'Tasks that may wait in one session.', 1),
  MAX_BACKGROUND_TASKS: Count(16, 'Background tasks that may run in one session.', 0),
  MAX_SOCKETS: Count(2000, 'WebSocket and SSE readers at once; more are refused with 1013 or 503.', 1),
  DEFAULT_MEMORY_MB: Count(512, 'Memory of a session that asks for none, MiB.', 32),
  MAX_MEMORY_MB: Count(4096, 'Most memory a session may ask for, MiB.', 32),
  DEFAULT_CPU_PERCENT: Count(100, 'CPU of a session that asks for none; 100 is one core.', 5),
  MAX_CPU_PERCENT: Count(
    100 * availableParallelism(),
    'Most CPU a session may ask for. Default: all cores.',
    5,
  ),
  DEFAULT_DISK_MB: Count(1024, 'Workspace size of a session that asks for none, MiB.', 1),
  MAX_DISK_MB: Count(10_240, 'Largest workspace a session may ask for, MiB.', 1),
  DEFAULT_MAX_INODES: Count(100_000, 'Files and folders in a workspace.', 100),
  DEFAULT_MAX_PROCESSES: Count(128, 'Processes and threads of a session that asks for none.', 8),
  MAX_MAX_PROCESSES: Count(1024, 'Most processes and threads a session may ask for.', 8),
  MAX_OPEN_FILES: Count(1024, 'Open files of one process.', 64),
  DEFAULT_TIMEOUT_SECONDS: Count(60, 'Wall clock of a task that asks for none, seconds.', 1),
  MAX_TIMEOUT_SECONDS: Count(86_400, 'Longest wall clock a task may ask for, seconds.', 1),
  DEFAULT_MAX_OUTPUT_BYTES: Count(
    64 * 1024 * 1024,
    'Output stored of a task that asks for nothing else, bytes.',
    1,
  ),
  MAX_MAX_OUTPUT_BYTES: Count(1024 * 1024 * 1024, 'Most output a task may ask to be stored, bytes.', 1),
  DEFAULT_IDLE_TIMEOUT_SECONDS: Count(1800, 'Idle time after which a session ends, seconds; 0 for never.'),
  DEFAULT_MAX_LIFETIME_SECONDS: Count(0, 'Lifetime of a session, seconds; 0 for no end.'),
  AGENT_IDLE_SECONDS: Count(
    60,
    'An unused sandbox gives its processes back after this long; the workspace stays.',
    1,
  ),
  RETENTION_SECONDS: Count(
    7 * 86_400,
    'A terminated session, its tasks and events stay readable this long.',
    1,
  ),
  CHECKPOINTS_KEPT: Count(10, 'Checkpoints kept of one session; the oldest go first.', 1),
  JSON_BODY_BYTES: Count(8 * 1024 * 1024, 'Largest JSON request body.', 1024),
  PIP_INDEX_URL: Type.String({
    default: 'https://pypi.org/simple/',
    pattern: '^https?://',
    description: 'Package index for pkg.install.',
  }),
  PIP_FILE_HOSTS: Type.String({
    default: '',
    description:
      'Comma-separated host:port of the index’s files. Default: files.pythonhosted.org:443 for pypi.org, nothing else otherwise.',
  }),
  ISOLATION_MIN: stringEnum(ISOLATION_LEVELS, {
    default: 'rootNoUserns',
    description: 'Weakest isolation under which tasks may run.',
  }),
  SANDBOX_UID_FIRST: Count(200_000, 'As root: first of the host uids given to sandboxes.', 1000),
  SANDBOX_UID_COUNT: Count(65_536, 'As root: how many uids.', 1),
  SHUTDOWN_GRACE_SECONDS: Count(
    10,
    'Time that running tasks get at SIGTERM before they end as interrupted, seconds.',
  ),
});
export type Settings = Static<typeof Settings>;

/** The settings as the parts want them: numbers in their units, lists split, paths absolute. */
export interface Config
  extends Omit<Settings, 'API_KEYS' | 'ALLOWED_HOSTS' | 'ALLOWED_ORIGINS' | 'PIP_FILE_HOSTS'> {
  readonly API_KEYS: readonly string[];
  readonly ALLOWED_HOSTS: readonly string[];
  readonly ALLOWED_ORIGINS: readonly string[];
  readonly PIP_FILE_HOSTS: readonly string[];
}

export class ConfigError extends Error {}

const splitList = (text: string) =>
  text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}
void resolve;
void splitList;

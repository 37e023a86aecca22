// Every setting, described once; read once, at the start. A wrong value stops the start with key, value and rule.

import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { availableParallelism, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { type Static, Type } from '@sinclair/typebox';
import envSchema from 'env-schema';
import { stringEnum } from './lib/typebox.js';
import { DISK_LIMITS, ISOLATION_LEVELS } from './sandbox/sandbox.js';

const Count = (defaultValue: number, description: string, minimum = 0) =>
  Type.Integer({ default: defaultValue, minimum, description });

/** What a timer waits for: Node fires one of more than 2^31 ms at once. */
const Seconds = (...about: Parameters<typeof Count>) => ({ ...Count(...about), maximum: 2_000_000 });

/** What is carried at once inside a sandbox; see `bridge.py`. */
const MOST_BRIDGED = 256;

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
  DOCS_ACCESS: stringEnum(['open', 'key'], {
    default: 'open',
    description:
      'With API_KEYS: whether `/docs`, `/openapi.json` and `/asyncapi.json`, which describe the API and nothing of yours, are open to all or need a key.',
  }),
  MAX_SESSIONS: Count(50, 'Sessions that may exist at once.', 1),
  MAX_QUEUED_TASKS: Count(100, 'Tasks that may wait in one session.', 1),
  MAX_TENANT_QUEUED_TASKS: Count(2000, 'Tasks that may wait in all sessions of one tenant.', 1),
  MAX_TOTAL_QUEUED_TASKS: Count(5000, 'Tasks that may wait in all sessions of the service.', 1),
  MAX_RUNNING_TASKS: Count(
    0,
    'Tasks that may run at once in the whole service, background tasks not counted; sessions take turns for the places. 0: one for each 128 MiB of memory, at least 16.',
  ),
  MAX_TENANT_RUNNING_TASKS: Count(0, 'How many of these places one tenant may have; 0 for all.'),
  MAX_TASK_ARGUMENT_BYTES: Count(
    256 * 1024 * 1024,
    'Arguments that tasks which wait or run may have together, bytes: they are kept in memory. More are refused with 503.',
    1024,
  ),
  MAX_STDIN_WAITING_BYTES: Count(
    64 * 1024 * 1024,
    'Standard input that may wait for programs to read it, of all tasks together, bytes; more is refused with 429.',
    1024,
  ),
  MAX_BACKGROUND_TASKS: Count(16, 'Background tasks that may run in one session.', 0),
  MAX_SOCKETS: Count(2000, 'WebSocket and SSE readers at once; more are refused with 1013 or 503.', 1),
  MAX_CONNECTIONS: Count(
    0,
    'Connections of clients at once; more are closed as they come. 0: half of the file descriptors that the process may have, at most 10000.',
  ),
  STALLED_REPLY_SECONDS: Seconds(
    30,
    'A reply of which its client reads nothing for this long is cut off, seconds; event streams are not.',
    1,
  ),
  MAX_UNREAD_REPLY_BYTES: Count(
    32 * 1024 * 1024,
    'Bytes of all replies together that may wait for their clients; beyond it a reply of more than 64 KiB is a 503.',
    1024 * 1024,
  ),
  MAX_BODY_BYTES_IN_FLIGHT: Count(
    48 * 1024 * 1024,
    'Bytes of all request bodies together that are being received; one beyond it is a 503.',
    1024 * 1024,
  ),
  MAX_DOWNLOADS: Count(
    8,
    'Downloads of workspaces that the service sends at once; a session sends two. More are refused with 503 and 429.',
    1,
  ),
  DEFAULT_MEMORY_MB: Count(512, 'Memory of a session that asks for none, MiB.', 32),
  MAX_MEMORY_MB: Count(4096, 'Most memory a session may ask for, MiB.', 32),
  DEFAULT_CPU_PERCENT: Count(100, 'CPU of a session that asks for none; 100 is one core.', 5),
  MAX_CPU_PERCENT: Count(0, 'Most CPU a session may ask for; 0 for all cores.'),
  DEFAULT_DISK_MB: Count(1024, 'Workspace size of a session that asks for none, MiB.', 1),
  MAX_DISK_MB: Count(10_240, 'Largest workspace a session may ask for, MiB.', 1),
  DEFAULT_MAX_INODES: Count(100_000, 'Files and folders in a workspace.', 100),
  DEFAULT_MAX_PROCESSES: Count(128, 'Processes and threads of a session that asks for none.', 8),
  MAX_MAX_PROCESSES: Count(1024, 'Most processes and threads a session may ask for.', 8),
  MAX_OPEN_FILES: Count(1024, 'Open files of one process.', 64),
  DEFAULT_TIMEOUT_SECONDS: Seconds(60, 'Wall clock of a task that asks for none, seconds.', 1),
  MAX_TIMEOUT_SECONDS: Seconds(86_400, 'Longest wall clock a task may ask for, seconds.', 1),
  DEFAULT_MAX_OUTPUT_BYTES: Count(
    64 * 1024 * 1024,
    'Output stored of a task that asks for nothing else, bytes.',
    1,
  ),
  MAX_MAX_OUTPUT_BYTES: Count(1024 * 1024 * 1024, 'Most output a task may ask to be stored, bytes.', 1),
  DEFAULT_IDLE_TIMEOUT_SECONDS: Count(1800, 'Idle time after which a session ends, seconds; 0 for never.'),
  DEFAULT_MAX_LIFETIME_SECONDS: Count(0, 'Lifetime of a session, seconds; 0 for no end.'),
  AGENT_IDLE_SECONDS: Seconds(
    60,
    'An unused sandbox gives its processes back after this long; the workspace stays.',
    1,
  ),
  SANDBOX_START_TIMEOUT_SECONDS: Seconds(
    60,
    'A sandbox that has not started within this time is given up, seconds; tasks that wait for it end as startTimedOut. Neither its turn counts, nor time in which it only waited for a processor.',
    1,
  ),
  SPARE_SANDBOXES: Count(
    2,
    'Sandboxes with the default limits that may stand ready for new sessions; one while nobody makes sessions. 0: each is made when it is wanted.',
  ),
  RETENTION_SECONDS: Count(
    7 * 86_400,
    'A terminated session, its tasks and events stay readable this long.',
    1,
  ),
  EVENT_RETENTION_SECONDS: Count(
    30 * 86_400,
    'Events and output of a session that lives on stay readable this long, seconds; longer while their task has not ended.',
    1,
  ),
  SESSION_RETENTION_BYTES: Count(
    1024 * 1024 * 1024,
    'Events and output kept of one session that lives on; beyond it the oldest of ended tasks are removed.',
    1024,
  ),
  MAX_SESSION_STORED_BYTES: Count(
    2 * 1024 * 1024 * 1024,
    'Events and output that may be stored of one session at a time: a task that prints beyond it ends as outputLimit.',
    1024,
  ),
  STORE_RETENTION_BYTES: Count(
    20 * 1024 * 1024 * 1024,
    'Size of the store from which on ended sessions are forgotten early, the oldest first; when that is not enough new work is refused with 507.',
    1024 * 1024,
  ),
  MIN_FREE_DISK_MB: Count(
    100,
    'With less than this free on the disk of DATA_DIR or of CHECKPOINT_DIR nothing more is written: programs that may write end with diskLimit, new work is refused with 507, reading and removing go on. 0: no such floor.',
  ),
  CHECKPOINTS_KEPT: Count(10, 'Checkpoints kept of one session; the oldest go first.', 1),
  CHECKPOINT_RETENTION_SECONDS: Count(
    30 * 86_400,
    'A checkpoint whose session is over is removed when it was not used for this long, seconds: counted from the end of the session, or from when it was last restored or downloaded. 0: never.',
  ),
  CHECKPOINT_RETENTION_BYTES: Count(
    0,
    'Archives that are kept of sessions that are over, together, bytes; beyond it those that were not used for the longest time are removed. 0: any amount, down to MIN_FREE_DISK_MB.',
  ),
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
  EGRESS_PRIVATE_HOSTS: Type.String({
    default: '',
    description:
      'Comma-separated host:port that an allowlist may name although they are at private addresses; `*.host` for all below, port `*` for any.',
  }),
  EGRESS_MAX_CONNECTIONS: Type.Integer({
    default: 64,
    minimum: 1,
    maximum: MOST_BRIDGED,
    description: 'Network connections of one session at once; more are refused.',
  }),
  EGRESS_MAX_BYTES: Count(
    10 * 1024 ** 3,
    'Bytes that one session may send and receive, counted anew when the service starts. Then everything is refused.',
    1,
  ),
  EGRESS_IDLE_SECONDS: Seconds(120, 'A network connection on which nothing moves is cut after this long.', 1),
  SANDBOX_ETC: Type.String({
    default: '',
    description:
      'Comma-separated files and folders below /etc (`krb5.conf,ODBC`) that sandboxes see as copies, beside those that visible programs need; every user must be able to read them.',
  }),
  SANDBOX_DRIVER: stringEnum(['bubblewrap', 'oci'], {
    default: 'bubblewrap',
    description:
      'What builds sandboxes: bubblewrap, or an OCI runtime (as root only, slower, see isolation.md).',
  }),
  OCI_RUNTIME: Type.String({
    default: '/usr/sbin/runc',
    description: 'With SANDBOX_DRIVER=oci: path of runc, crun or runsc.',
  }),
  OCI_RUNTIME_ARGS: Type.String({
    default: '',
    description: 'Options for it, separated by spaces, e.g. `--network=none --ignore-cgroups` for runsc.',
  }),
  ISOLATION_MIN: stringEnum(ISOLATION_LEVELS, {
    default: 'rootNoUserns',
    description: 'Weakest isolation under which tasks may run.',
  }),
  ISOLATION_MAX: stringEnum(ISOLATION_LEVELS, {
    default: 'full',
    description:
      'Strongest isolation to try. `oneshot` gives every program a sandbox of its own, some 20 ms slower.',
  }),
  DISK_LIMIT: stringEnum(DISK_LIMITS, {
    default: 'auto',
    description:
      'What holds a workspace to its size. quota: a project quota of the file system; image: an ext4 image for each, through loop devices (both need root, and hold bytes and inodes exactly); watcher: a look every now and then. auto: the first of these that works here.',
  }),
  SANDBOX_UID_FIRST: Count(200_000, 'As root: first of the host uids given to sandboxes.', 1000),
  SANDBOX_UID_COUNT: Count(65_536, 'As root: how many uids.', 1),
  SHUTDOWN_GRACE_SECONDS: Seconds(
    10,
    'Time that running tasks get at SIGTERM before they end as interrupted, seconds.',
  ),
});
export type Settings = Static<typeof Settings>;

/** The settings as the parts want them: numbers in their units, lists split, paths absolute. */
export interface Config
  extends Omit<
    Settings,
    | 'API_KEYS'
    | 'ALLOWED_HOSTS'
    | 'ALLOWED_ORIGINS'
    | 'PIP_FILE_HOSTS'
    | 'EGRESS_PRIVATE_HOSTS'
    | 'SANDBOX_ETC'
  > {
  readonly API_KEYS: readonly string[];
  readonly ALLOWED_HOSTS: readonly string[];
  readonly ALLOWED_ORIGINS: readonly string[];
  readonly PIP_FILE_HOSTS: readonly string[];
  readonly EGRESS_PRIVATE_HOSTS: readonly string[];
  readonly SANDBOX_ETC: readonly string[];
}

/** Settings whose value is never shown, not even in the error about it. */
const SECRETS: ReadonlySet<string> = new Set<keyof Settings>(['API_KEYS']);

/** What a default may not exceed, since a session that asks for nothing would be refused. */
const MAXIMA = [
  ['DEFAULT_MEMORY_MB', 'MAX_MEMORY_MB'],
  ['DEFAULT_CPU_PERCENT', 'MAX_CPU_PERCENT'],
  ['DEFAULT_DISK_MB', 'MAX_DISK_MB'],
  ['DEFAULT_MAX_PROCESSES', 'MAX_MAX_PROCESSES'],
  ['DEFAULT_TIMEOUT_SECONDS', 'MAX_TIMEOUT_SECONDS'],
  ['DEFAULT_MAX_OUTPUT_BYTES', 'MAX_MAX_OUTPUT_BYTES'],
  ['SESSION_RETENTION_BYTES', 'MAX_SESSION_STORED_BYTES'],
] as const satisfies [keyof Settings, keyof Settings][];

const MIN_KEY_LENGTH = 16;

/** The start is refused; the message has one line for each wrong setting. */
export class ConfigError extends Error {
  constructor(readonly violations: readonly string[]) {
    super(violations.join('\n'));
    this.name = 'ConfigError';
  }
}

/** Reads the settings out of an environment. Variables it does not know are not its business, and a variable that is
 *  set to nothing counts as unset, so that `PORT=${PORT:-}` in a compose file means the default. */
export function loadConfig(env: Readonly<Record<string, string | undefined>>): Config {
  const given = Object.fromEntries(
    Object.keys(Settings.properties).flatMap((key) => (env[key] ? [[key, env[key]]] : [])),
  );
  const settings = parseSettings(given);
  const maxRunningTasks = settings.MAX_RUNNING_TASKS || placesForTasks();
  const config: Config = {
    ...settings,
    DATA_DIR: resolve(settings.DATA_DIR),
    CHECKPOINT_DIR: settings.CHECKPOINT_DIR
      ? resolve(settings.CHECKPOINT_DIR)
      : join(resolve(settings.DATA_DIR), 'checkpoints'),
    MAX_RUNNING_TASKS: maxRunningTasks,
    MAX_TENANT_RUNNING_TASKS: settings.MAX_TENANT_RUNNING_TASKS || maxRunningTasks,
    MAX_CONNECTIONS: settings.MAX_CONNECTIONS || connectionsForDescriptors(),
    MAX_CPU_PERCENT: settings.MAX_CPU_PERCENT || 100 * availableParallelism(),
    API_KEYS: splitList(settings.API_KEYS),
    ALLOWED_HOSTS: splitList(settings.ALLOWED_HOSTS).map((host) => host.toLowerCase()),
    ALLOWED_ORIGINS: splitList(settings.ALLOWED_ORIGINS).map((origin) => origin.toLowerCase()),
    PIP_FILE_HOSTS: settings.PIP_FILE_HOSTS
      ? splitList(settings.PIP_FILE_HOSTS)
      : fileHostsOf(settings.PIP_INDEX_URL),
    EGRESS_PRIVATE_HOSTS: splitList(settings.EGRESS_PRIVATE_HOSTS),
    SANDBOX_ETC: splitList(settings.SANDBOX_ETC),
  };
  const broken = brokenRules(config);
  if (broken.length > 0) throw new ConfigError(broken);
  return config;
}

function parseSettings(given: Record<string, string>): Settings {
  try {
    return envSchema<Settings>({ schema: { ...Settings }, data: { ...given }, env: false });
  } catch (error) {
    const found = (error as { errors?: { instancePath: string; message?: string; params: object }[] }).errors;
    if (!found) throw error;
    throw new ConfigError(
      found.map(({ instancePath, message, params }) => {
        const key = instancePath.slice(1);
        const allowed = 'allowedValues' in params ? `: ${(params.allowedValues as string[]).join(', ')}` : '';
        return complain(key, given[key] ?? '', `${message}${allowed}`);
      }),
    );
  }
}

/** The rules that concern more than the form of one value. */
function brokenRules(config: Config): string[] {
  const broken: string[] = [];
  for (const [key, maximum] of MAXIMA) {
    if (config[key] > config[maximum]) {
      broken.push(complain(key, config[key], `must be at most ${maximum}, which is ${config[maximum]}`));
    }
  }
  if (ISOLATION_LEVELS.indexOf(config.ISOLATION_MAX) > ISOLATION_LEVELS.indexOf(config.ISOLATION_MIN)) {
    broken.push(
      complain(
        'ISOLATION_MAX',
        config.ISOLATION_MAX,
        `must not be weaker than ISOLATION_MIN, which is ${config.ISOLATION_MIN}`,
      ),
    );
  }
  const short = config.API_KEYS.findIndex((key) => key.length < MIN_KEY_LENGTH);
  if (short >= 0) {
    broken.push(
      complain('API_KEYS', '', `key number ${short + 1} must have at least ${MIN_KEY_LENGTH} characters`),
    );
  }
  if (config.API_KEYS.some((key) => !/^[\x21-\x7e]+$/.test(key))) {
    broken.push(complain('API_KEYS', '', 'keys must be printable ASCII without spaces'));
  }
  if (config.API_KEYS.length === 0 && !isLoopback(config.HOST)) {
    broken.push(
      complain(
        'HOST',
        config.HOST,
        'must be a loopback address (127.0.0.1, ::1, localhost) unless API_KEYS is set: without keys anyone who reaches the service could run code',
      ),
    );
  }
  for (const origin of config.ALLOWED_ORIGINS) {
    if (!isOrigin(origin)) {
      broken.push(complain('ALLOWED_ORIGINS', origin, 'must be origins such as https://app.example.com'));
    }
  }
  for (const host of config.PIP_FILE_HOSTS) {
    if (!isHostAndPort(host)) {
      broken.push(complain('PIP_FILE_HOSTS', host, 'must be host:port, e.g. files.example.com:443'));
    }
  }
  for (const host of config.EGRESS_PRIVATE_HOSTS) {
    if (!isHostAndPort(host.replace(/^\*\./, '').replace(/:\*$/, ':1'))) {
      broken.push(complain('EGRESS_PRIVATE_HOSTS', host, 'must be host:port, e.g. models.internal:443'));
    }
  }
  if (!URL.canParse(config.PIP_INDEX_URL)) {
    broken.push(complain('PIP_INDEX_URL', config.PIP_INDEX_URL, 'must be a URL'));
  }
  return broken;
}

function complain(key: string, value: string | number, rule: string): string {
  if (SECRETS.has(key)) return `${key}: ${rule}`;
  const withoutPassword = String(value).replace(/\/\/[^/@]*@/, '//…@');
  return `${key}=${withoutPassword}: ${rule}`;
}

/** The settings as a Markdown table, for docs/configuration.md. */
export function describeSettings(): string {
  const rows = Object.entries(Settings.properties).map(([key, schema]) => {
    const { default: value, description, minimum, enum: values } = schema as SettingSchema;
    const rule = values
      ? ` One of ${values.map((each) => `\`${each}\``).join(', ')}.`
      : minimum
        ? ` At least ${minimum}.`
        : '';
    return `| \`${key}\` | ${value === '' ? '' : `\`${value}\``} | ${description}${rule} |`;
  });
  return ['| variable | default | meaning |', '|---|---|---|', ...rows].join('\n');
}

interface SettingSchema {
  readonly default: string | number;
  readonly description: string;
  readonly minimum?: number;
  readonly enum?: readonly string[];
}

function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '');
}

/** Memory is what many tasks run out of first: processors and the wait for a network are shared well. A task may use
 *  more than its share, and most use less. */
function placesForTasks(): number {
  const memoryBytes = Math.min(process.constrainedMemory() || Number.POSITIVE_INFINITY, totalmem());
  return Math.max(16, Math.floor(memoryBytes / (128 * 1024 * 1024)));
}

/** Half of the descriptors are left to sessions, the store and downloads: a sandbox takes a dozen of them. */
function connectionsForDescriptors(): number {
  const [, soft] = /^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8')) ?? [];
  return Math.min(10_000, Math.floor(Number(soft ?? 1024) / 2));
}

/** pypi.org keeps its files on another host; an index of one's own is taken to serve them itself. */
function fileHostsOf(indexUrl: string): string[] {
  return URL.canParse(indexUrl) && new URL(indexUrl).hostname === 'pypi.org'
    ? ['files.pythonhosted.org:443']
    : [];
}

/** The URL parser decides, as it does for the proxy that takes these. */
function isHostAndPort(text: string): boolean {
  return /^[^\s/?#@\\:[\]%*]+:[1-9]\d{0,4}$/.test(text) && URL.canParse(`http://${text}/`);
}

function isOrigin(text: string): boolean {
  return URL.canParse(text) && new URL(text).origin === text;
}

/** True for names and addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === 'localhost' || host === '::1';
}

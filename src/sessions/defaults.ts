// What a new session gets: what was asked for, the operator's defaults for the rest, and a refusal beyond the maxima.
import type { Config } from '../config.js';
import { ValidationFailed, type Violation } from '../errors.js';
import { parseHostRule } from '../sandbox/egress-rules.js';
import type { SandboxLimits, SandboxSpec } from '../sandbox/sandbox.js';
import type { SessionRow } from '../store/schema.js';
import type { CreateSession, Limits, LimitsInput, Network } from './schema.js';

const MIB = 1024 * 1024;

/** The limits in force. Throws ValidationFailed with every limit that is beyond the operator's maximum. */
export function resolveLimits(asked: LimitsInput, config: Config): Limits {
  const maxima: Limits = {
    memoryMb: config.MAX_MEMORY_MB,
    cpuPercent: config.MAX_CPU_PERCENT,
    diskMb: config.MAX_DISK_MB,
    maxProcesses: config.MAX_MAX_PROCESSES,
    timeoutSeconds: config.MAX_TIMEOUT_SECONDS,
    maxOutputBytes: config.MAX_MAX_OUTPUT_BYTES,
  };
  const defaults: Limits = {
    memoryMb: config.DEFAULT_MEMORY_MB,
    cpuPercent: config.DEFAULT_CPU_PERCENT,
    diskMb: config.DEFAULT_DISK_MB,
    maxProcesses: config.DEFAULT_MAX_PROCESSES,
    timeoutSeconds: config.DEFAULT_TIMEOUT_SECONDS,
    maxOutputBytes: config.DEFAULT_MAX_OUTPUT_BYTES,
  };
  const limits = { ...defaults, ...asked };
  const tooMuch: Violation[] = (Object.keys(maxima) as (keyof Limits)[])
    .filter((name) => limits[name] > maxima[name])
    .map((name) => ({
      where: `/body/limits/${name}`,
      given: limits[name],
      rule: `must be at most ${maxima[name]} on this service`,
    }));
  if (tooMuch.length > 0) throw new ValidationFailed(tooMuch);
  return limits;
}

/** Seconds as the record keeps them: what was asked, else the operator's default, where 0 says never. */
export function resolveSeconds(asked: number | null | undefined, configured: number): number | null {
  if (asked !== undefined) return asked;
  return configured === 0 ? null : configured;
}

const HOST =
  /^(?:\*\.)?(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*(?::\d{1,5})?$/;

/** The network as it is kept. Throws ValidationFailed for hosts that are none. */
export function resolveNetwork(asked: CreateSession['network']): Network {
  if (!asked || asked.mode === 'none') return { mode: 'none' };
  const hosts = asked.hosts ?? [];
  const wrong = hosts.flatMap((given, index) => {
    const withPort = /:\d+$/.test(given) ? given : `${given}:443`;
    if (HOST.test(given) && parseHostRule(withPort) !== null) return [];
    return [
      { where: `/body/network/hosts/${index}`, given, rule: 'must be a host name with an optional port' },
    ];
  });
  if (wrong.length > 0) throw new ValidationFailed(wrong);
  return { mode: 'allowlist', hosts };
}

/** The egress proxy's list: a host without a port is meant for HTTPS and HTTP. */
export function egressOf(
  network: Network,
  config: Pick<Config, 'EGRESS_PRIVATE_HOSTS'>,
): SandboxSpec['egress'] {
  const hosts = network.mode === 'allowlist' ? (network.hosts ?? []) : [];
  const allow = hosts.flatMap((host) => (/:\d+$/.test(host) ? [host] : [`${host}:443`, `${host}:80`]));
  return { allow, mayBePrivate: config.EGRESS_PRIVATE_HOSTS };
}

/** What the sandbox of a session is built from. */
export function sandboxSpec(row: SessionRow, config: Config): SandboxSpec {
  return {
    id: row.id,
    owner: row.tenant,
    env: JSON.parse(row.env) as Record<string, string>,
    egress: egressOf(JSON.parse(row.network) as Network, config),
    limits: sandboxLimits(JSON.parse(row.limits) as Limits, config),
  };
}

/** What of a session's limits its sandbox holds. */
export function sandboxLimits(limits: Limits, config: Config): SandboxLimits {
  return {
    memoryBytes: limits.memoryMb * MIB,
    cpuPercent: limits.cpuPercent,
    diskBytes: limits.diskMb * MIB,
    maxInodes: config.DEFAULT_MAX_INODES,
    maxProcesses: limits.maxProcesses,
    maxOpenFiles: config.MAX_OPEN_FILES,
  };
}

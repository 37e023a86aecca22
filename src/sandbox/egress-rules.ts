// Which hosts a sandbox may reach, by name and port. Pure: it decides on names, before anything is looked up.
import { isIP } from 'node:net';

/** One entry of an allowlist, as `host:port`, `*.host:port`, and `*` for any port. */
export interface HostRule {
  readonly host: string;
  /** Also every name below `host`, but not `host` itself. */
  readonly below: boolean;
  readonly port: number | null;
}

export interface HostAndPort {
  /** Lower case, punycode, no trailing dot; an IPv6 address without brackets. */
  readonly host: string;
  readonly port: number;
}

/** Null when the text is no rule. */
export function parseHostRule(text: string): HostRule | null {
  const [, wildcard, name, portText] = /^(\*\.)?(\[[^\]]*\]|[^:]*):(\d{1,5}|\*)$/.exec(text) ?? [];
  const host = name === undefined ? null : canonicalHost(name);
  const port = portText === '*' ? null : Number(portText);
  if (host === null || (port !== null && !isPort(port)) || (wildcard && isIP(host) !== 0)) return null;
  return { host, below: wildcard !== undefined, port };
}

export function parseHostRules(texts: readonly string[]): HostRule[] {
  return texts.map((text) => {
    const rule = parseHostRule(text);
    if (rule === null) throw new Error(`not a host:port: ${JSON.stringify(text)}`);
    return rule;
  });
}

export function isListed(rules: readonly HostRule[], { host, port }: HostAndPort): boolean {
  return rules.some(
    (rule) =>
      (rule.port === null || rule.port === port) &&
      (rule.below ? isIP(host) === 0 && host.endsWith(`.${rule.host}`) : host === rule.host),
  );
}

/** What CONNECT names: `host:port` and nothing else. */
export function parseAuthority(text: string): HostAndPort | null {
  const [, name, portText] = /^(\[[^\]]*\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(text) ?? [];
  const host = name === undefined ? null : canonicalHost(name);
  const port = Number(portText);
  return host === null || !isPort(port) ? null : { host, port };
}

/** One spelling for every host: the URL parser knows decimal, octal and hexadecimal addresses and Unicode names. */
export function canonicalHost(text: string): string | null {
  if (!/^(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:[\]%*]+)$/.test(text)) return null;
  const url = URL.canParse(`http://${text}/`) ? new URL(`http://${text}/`) : null;
  const host = url?.hostname.replace(/^\[|\]$/g, '').replace(/\.$/, '');
  // An empty label, as in `..` or `a..b`, belongs to no name that can be looked up.
  return host === undefined || host.length > MAX_HOST_CHARS || /^$|^\.|\.$|\.\./.test(host) ? null : host;
}

/** The longest name that DNS can hold. */
const MAX_HOST_CHARS = 253;

const isPort = (port: number) => Number.isInteger(port) && port >= 1 && port <= 65_535;

// From a listed name to the addresses that may be connected to. A name is looked up once, and what was checked is what
// is used, so that a second answer (DNS rebinding) finds nobody asking.
import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { type AddressKind, addressKind, canonicalAddress } from './addresses.js';
import { NAME_UNKNOWN } from './egress-refusal.js';
import type { HostAndPort } from './egress-rules.js';

export type LookUp = (host: string) => Promise<readonly string[]>;

/** Why a listed host is not reached after all, in words for the owner of the sandbox. */
export class EgressRefused extends Error {}

/**
 * Semaphore for name lookups: few at a time in all sandboxes together, at most one of each sandbox. Sandboxes take
 * turns, so that one whose names are slow to resolve delays others by a lookup, not by all of its own.
 */
export class LookUpTurns {
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(
    private readonly ask: LookUp,
    private readonly atOnce: number,
  ) {}

  /** The lookups of one sandbox. */
  forSandbox(): LookUp {
    let last: Promise<unknown> = Promise.resolve();
    return (host) => {
      const answer = last.then(() => this.#inTurn(host));
      last = answer.catch(() => {});
      return answer;
    };
  }

  async #inTurn(host: string): Promise<readonly string[]> {
    if (this.#running < this.atOnce) this.#running += 1;
    // Whoever ends hands its place on.
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await this.ask(host);
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#running -= 1;
    }
  }
}

/**
 * getaddrinfo, because the operator's hosts may stand in /etc/hosts. It occupies a thread that file access needs too,
 * so only two names are looked up at a time.
 */
export const lookUpTurns = new LookUpTurns(
  async (host) => (await lookup(host, { all: true })).map(({ address }) => address),
  2,
);

export interface ResolveOptions {
  /** The operator configured this host. */
  readonly mayBePrivate: boolean;
  /** The service's own listening addresses, `host:port`. */
  readonly forbidden: readonly string[];
  readonly lookUp: LookUp;
  /** Of this machine's interfaces; asked for each time, since they come and go. */
  readonly ownAddresses?: readonly string[];
}

export interface Destination {
  /** At least one. */
  readonly addresses: readonly string[];
  /** Whether only a host that may be private may be there. */
  readonly isPrivate: boolean;
}

/** The addresses of a host that may be connected to; throws `EgressRefused` when there are none. */
export async function resolveDestination(
  { host, port }: HostAndPort,
  { mayBePrivate, forbidden, lookUp, ownAddresses = interfaceAddresses() }: ResolveOptions,
): Promise<Destination> {
  const answers = isIP(host) !== 0 ? [host] : await lookUp(host).catch(() => []);
  if (answers.length === 0) throw new EgressRefused(NAME_UNKNOWN);
  const reachable = answers.filter((address) => {
    const kind = kindFromHere(address, ownAddresses);
    return kind === 'public' || (kind === 'private' && mayBePrivate);
  });
  if (reachable.length === 0) throw new EgressRefused('the address is private, link-local or reserved');
  const addresses = reachable.filter((address) => !isForbidden(address, port, forbidden));
  if (addresses.length === 0) throw new EgressRefused('the address is the service itself');
  return {
    addresses,
    isPrivate: addresses.some((address) => kindFromHere(address, ownAddresses) !== 'public'),
  };
}

/** A port of the service counts on every address of this machine: it may listen on all of them. */
function isForbidden(address: string, port: number, forbidden: readonly string[]): boolean {
  const own = canonicalAddress(address);
  return forbidden.some((entry) => {
    const colon = entry.lastIndexOf(':');
    if (Number(entry.slice(colon + 1)) !== port) return false;
    return own === canonicalAddress(entry.slice(0, colon).replace(/^\[|\]$/g, '')) || isThisMachine(own);
  });
}

/** What this machine offers at an address of the internet is reached from here past whatever guards it from there. */
function kindFromHere(address: string, ownAddresses: readonly string[]): AddressKind {
  const kind = addressKind(address);
  const own = canonicalAddress(address);
  return kind === 'public' && own !== null && ownAddresses.includes(own) ? 'private' : kind;
}

function isThisMachine(address: string | null): boolean {
  if (address === null || address === '::1' || address.startsWith('127.')) return true;
  return interfaceAddresses().includes(address);
}

const interfaceAddresses = (): string[] =>
  Object.values(networkInterfaces()).flatMap((interfaces) => interfaces?.map(({ address }) => address) ?? []);

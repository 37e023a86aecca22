// What kind of place an IP address is, whatever its spelling. Unknown ranges count as places to keep away from.
import { BlockList, isIPv4, isIPv6 } from 'node:net';

/**
 * `public`: the internet. `private`: this host, its networks. `never`: link-local and cloud metadata, multicast,
 * unspecified and reserved ranges, which nobody has a reason to reach from a sandbox.
 */
export type AddressKind = 'public' | 'private' | 'never';

const IPV4_NEVER = blockList('ipv4', [
  ['0.0.0.0', 8],
  // Metadata of Alibaba Cloud, and the host server of Azure, which stands in a public range.
  ['100.100.100.200', 32],
  ['168.63.129.16', 32],
  ['169.254.0.0', 16],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
]);

const IPV4_PRIVATE = blockList('ipv4', [
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
]);

const IPV6_GLOBAL = blockList('ipv6', [['2000::', 3]]);

/** Inside the global range: Teredo and other protocol assignments, and documentation; and inside the local one. */
const IPV6_NEVER = blockList('ipv6', [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['3fff::', 20],
  // Metadata and other services of clouds' hosts: Amazon, Google, Oracle, Scaleway, Akamai (Linode).
  ['fd00:ec2::', 32],
  ['fd20:ce::254', 128],
  ['fd00:c1::a9fe:a9fe', 128],
  ['fd00:42::42', 128],
  ['fd00:a9fe:a9fe::', 48],
]);

const IPV6_PRIVATE = blockList('ipv6', [
  ['::1', 128],
  ['fc00::', 7],
]);

/** Prefixes (in bytes) after which an IPv4 address stands that is the real destination: mapped, NAT64, 6to4. */
const CARRIERS_OF_IPV4: readonly (readonly number[])[] = [
  [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff],
  [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0],
  [0x20, 0x02],
];

export function addressKind(address: string): AddressKind {
  if (isIPv4(address)) return ipv4Kind(address);
  const bytes = ipv6Bytes(address);
  if (bytes === null) return 'never';
  const carried = carriedIpv4(bytes);
  if (carried !== null) return ipv4Kind(carried);
  if (IPV6_NEVER.check(address, 'ipv6')) return 'never';
  if (IPV6_PRIVATE.check(address, 'ipv6')) return 'private';
  return IPV6_GLOBAL.check(address, 'ipv6') ? 'public' : 'never';
}

/** The same place always in the same letters, an IPv4 address in IPv6 clothes as IPv4; null when it is no address. */
export function canonicalAddress(address: string): string | null {
  if (isIPv4(address)) return address;
  const bytes = ipv6Bytes(address);
  if (bytes === null) return null;
  return carriedIpv4(bytes) ?? new URL(`http://[${address}]`).hostname.slice(1, -1);
}

function ipv4Kind(address: string): AddressKind {
  if (IPV4_NEVER.check(address, 'ipv4')) return 'never';
  return IPV4_PRIVATE.check(address, 'ipv4') ? 'private' : 'public';
}

function carriedIpv4(bytes: readonly number[]): string | null {
  const carrier = CARRIERS_OF_IPV4.find((prefix) => prefix.every((byte, index) => bytes[index] === byte));
  return carrier ? bytes.slice(carrier.length, carrier.length + 4).join('.') : null;
}

/** Null for what is no IPv6 address, and for one with a zone (`fe80::1%eth0`). */
function ipv6Bytes(address: string): number[] | null {
  if (!isIPv6(address) || address.includes('%')) return null;
  // The URL parser writes every spelling as hexadecimal groups with at most one `::`.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const groups = (text: string) =>
    text === '' ? [] : text.split(':').map((group) => Number.parseInt(group, 16));
  const [before, after] = [groups(head), groups(tail ?? '')];
  const zeros = Array<number>(8 - before.length - after.length).fill(0);
  return [...before, ...zeros, ...after].flatMap((group) => [group >> 8, group & 0xff]);
}

function blockList(family: 'ipv4' | 'ipv6', subnets: readonly (readonly [string, number])[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix] of subnets) list.addSubnet(address, prefix, family);
  return list;
}

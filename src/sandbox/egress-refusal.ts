// Refusals of the proxy that others than the proxy must tell apart.

export const NOT_LISTED = 'not in the allowlist';
export const NAME_UNKNOWN = 'the name has no address';

/** A destination that a program was kept from. */
export interface EgressRefusal {
  /** `host:port`. */
  readonly host: string;
  readonly reason: string;
}

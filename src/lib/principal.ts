/** Who asks: decides which records a request may see. */
export interface Principal {
  readonly tenant: string;
}

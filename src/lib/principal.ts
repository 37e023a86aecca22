/** Who asks: decides which records a request may see. */
export interface Principal {
  readonly tenant: string;
  /** Of a stream token: internal id of the one session whose events may be read. Nothing else is allowed. */
  readonly onlyEventsOf?: string;
}

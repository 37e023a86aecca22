// A file tree as a stream of entries: how checkpoints leave a sandbox and come back into one.

/** One entry. Directories come before what is in them. Everything a restore must give back is here. */
export type TreeEntry = {
  /** Below the workspace, without a leading `/` or `./`; any bytes but NUL. */
  readonly path: Buffer;
  /** Permission bits, set-id bits removed (`& 0o777`). */
  readonly mode: number;
  /** Modification time in nanoseconds since 1970; may be negative. */
  readonly mtimeNs: bigint;
} & (
  | { readonly type: 'directory' }
  | { readonly type: 'symlink'; readonly target: Buffer }
  | {
      readonly type: 'file';
      readonly sizeBytes: number;
      /** Exactly `sizeBytes` bytes; to be read to its end before the next entry is asked for. */
      readonly body: AsyncIterable<Buffer>;
      /** Filled in when the body has been read: the file changed meanwhile (cut, or padded with zeros). */
      changedWhileReading?: boolean;
    }
  /** A FIFO, socket or device: named so that it can be counted, never followed. */
  | { readonly type: 'skipped'; readonly what: string }
);

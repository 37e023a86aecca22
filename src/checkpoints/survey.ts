// What is learned about a tree while it goes by.
import type { TreeEntry } from '../sandbox/tree.js';
import { type Manifest, manifestLine } from './manifest.js';

/** Above this many files no manifest is kept, and changes are not counted: it would take too much memory. */
const MAX_MANIFEST_FILES = 200_000;
const MAX_NAMED_CHANGES = 100;
/** Only Latin names can be packages. */
const PACKAGE = /^\.venv\/lib\/python[0-9.]+\/site-packages\/([\w.]+)-([^/-]+)\.dist-info$/;

export interface Package {
  readonly name: string;
  readonly version: string;
}

export class Survey {
  fileCount = 0;
  entryCount = 0;
  uncompressedBytes = 0;
  readonly skipped: Record<string, number> = {};
  readonly changedWhileReading: string[] = [];
  readonly #packages: Package[] = [];
  readonly #manifest = new Map<string, string>();

  /** Null when the tree has too many files for one. */
  get manifest(): Manifest | null {
    return this.fileCount > MAX_MANIFEST_FILES ? null : this.#manifest;
  }

  get installedPackages(): Package[] {
    return this.#packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  /** Passes the entries on and looks at each; what is known only after its body, when the next is asked for. */
  async *watch(entries: AsyncIterable<TreeEntry>): AsyncGenerator<TreeEntry> {
    for await (const entry of entries) {
      this.#see(entry);
      yield entry;
      if (entry.type === 'file' && entry.changedWhileReading) {
        if (this.changedWhileReading.length < MAX_NAMED_CHANGES) {
          this.changedWhileReading.push(entry.path.toString('utf8'));
        }
      }
    }
  }

  #see(entry: TreeEntry): void {
    if (entry.type === 'skipped') {
      this.skipped[entry.what] = (this.skipped[entry.what] ?? 0) + 1;
      return;
    }
    this.entryCount += 1;
    if (entry.type === 'directory') {
      const [, name, version] = PACKAGE.exec(entry.path.toString('latin1')) ?? [];
      if (name && version) this.#packages.push({ name: normalized(name), version });
      return;
    }
    this.fileCount += 1;
    if (entry.type === 'file') this.uncompressedBytes += entry.sizeBytes;
    if (this.fileCount <= MAX_MANIFEST_FILES) this.#manifest.set(...manifestLine(entry));
    else this.#manifest.clear();
  }
}

/** As the index knows it: PEP 503. */
function normalized(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

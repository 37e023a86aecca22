// What is learned about a tree while it goes by.
import { MAX_MANIFEST_BYTES, type Manifest, type ManifestEntry, manifestLine } from './manifest.js';

/** Above this many files no manifest is kept, and changes are not counted: it would take too much memory. */
const MAX_MANIFEST_FILES = 200_000;
/** Packages that a record names; whoever has more made them up. */
export const MAX_PACKAGES = 5_000;
/** Only Latin names can be packages. */
const PACKAGE = /^\.venv\/lib\/python[0-9.]+\/site-packages\/([\w.]+)-([^/-]+)\.dist-info$/;

export type SeenEntry = ManifestEntry | { readonly type: 'directory'; readonly path: Buffer };

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
  #manifestBytes = 0;

  /** Null when the tree has too many files for one, or paths that are too long together. */
  get manifest(): Manifest | null {
    return this.#hasManifest ? this.#manifest : null;
  }

  get #hasManifest(): boolean {
    return this.fileCount <= MAX_MANIFEST_FILES && this.#manifestBytes <= MAX_MANIFEST_BYTES;
  }

  get installedPackages(): Package[] {
    return this.#packages.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  }

  see(entry: SeenEntry): void {
    this.entryCount += 1;
    if (entry.type === 'directory') {
      const [, name, version] = PACKAGE.exec(entry.path.toString('latin1')) ?? [];
      if (name && version && this.#packages.length < MAX_PACKAGES)
        this.#packages.push({ name: normalized(name), version });
      return;
    }
    this.fileCount += 1;
    if (entry.type === 'file') this.uncompressedBytes += entry.sizeBytes;
    if (this.#hasManifest) this.#remember(entry);
    if (!this.#hasManifest) this.#manifest.clear();
  }

  #remember(entry: ManifestEntry): void {
    const [path, like] = manifestLine(entry);
    // A line break and a space stand between them in the file.
    this.#manifestBytes += path.length + like.length + 2;
    this.#manifest.set(path, like);
  }
}

/** As the index knows it: PEP 503. */
function normalized(name: string): string {
  return name.toLowerCase().replace(/[-_.]+/g, '-');
}

// How much a workspace holds, by walking it: `python/tree.py`, in a sandbox that sees it read-only and passes over
// permissions, stays for as long as it is asked again and again.
import { createInterface, type Interface } from 'node:readline';
import type { DiskUse } from './limits/disk.js';
import type { OneShot, SpawnOneShot } from './oneshot.js';

export class WorkspaceMeter {
  #walker: Promise<{ process: OneShot; lines: AsyncIterator<string>; reader: Interface }> | undefined;

  /** It stops counting when there is more than `maxInodes`, which bounds what a look costs. */
  constructor(
    private readonly spawn: SpawnOneShot,
    private readonly maxInodes: number,
  ) {}

  /** One look at a time. */
  async measure(): Promise<DiskUse> {
    this.#walker ??= this.#start();
    try {
      const { process, lines } = await this.#walker;
      process.stdin.write('?\n');
      const { value, done } = await lines.next();
      if (done)
        throw new Error(`the workspace could not be measured: ${(await process.ended).stderr.trim()}`);
      const { diskBytes, inodes } = JSON.parse(value) as Record<string, unknown>;
      return { diskBytes: Number(diskBytes), inodes: Number(inodes) };
    } catch (error) {
      await this.close();
      throw error;
    }
  }

  async close(): Promise<void> {
    const walker = await this.#walker?.catch(() => undefined);
    this.#walker = undefined;
    walker?.reader.close();
    walker?.process.kill();
    await walker?.process.ended;
  }

  async #start() {
    const process = await this.spawn({
      script: 'tree.py',
      args: ['measure', '/workspace', String(this.maxInodes)],
      workspace: 'read',
      overrideOwner: true,
    });
    process.stdin.on('error', () => {});
    const reader = createInterface({ input: process.stdout });
    return { process, reader, lines: reader[Symbol.asyncIterator]() };
  }
}

// What a part of the benchmark is given.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Undo } from '../src/lib/undo.js';
import type { Row } from './row.js';
import { Service } from './service.js';

export interface Effort {
  /** Of floor and product, for latencies. */
  readonly pairs: number;
  /** For rates: this many rounds, each this long. */
  readonly rounds: number;
  readonly seconds: number;
}

export interface Part {
  readonly name: string;
  run(bench: Bench): Promise<Row[]>;
}

/** The effort of one run, and what was opened for a part; closing it closes that, last first. */
export class Bench {
  readonly undo = new Undo();

  constructor(readonly effort: Effort) {}

  /** A service of its own for the part, with everything as it is shipped except the settings given. */
  async service(
    settings: Record<string, string> = {},
    nodeOptions: readonly string[] = [],
  ): Promise<Service> {
    const service = await Service.start(await this.directory(), settings, nodeOptions);
    this.undo.push('service', () => service.stop());
    return service;
  }

  async directory(): Promise<string> {
    const path = await mkdtemp(join(tmpdir(), 'codegen-bench-'));
    this.undo.push('directory', () => rm(path, { recursive: true, force: true }));
    return path;
  }

  close(): Promise<void> {
    return this.undo.run();
  }
}

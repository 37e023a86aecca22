// How quiet the machine is. Ratios bear some noise; a figure from a busy minute is said to be one.
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { summarize } from './row.js';

export interface Surroundings {
  readonly machine: string;
  readonly node: string;
  readonly load1: number;
  /** Of all cores, while we did nothing. */
  readonly othersPercent: number;
  /** How much longer the 95th percentile of the same small work takes than its median. */
  readonly jitterPercent: number;
  readonly isBusy: boolean;
}

export async function surroundings(): Promise<Surroundings> {
  const before = processorTime();
  await sleep(2_000);
  const after = processorTime();
  const othersPercent = (100 * (after.busy - before.busy)) / (after.total - before.total);
  const spins = summarize(Array.from({ length: 300 }, spin));
  const jitterPercent = 100 * (spins.p95 / spins.median - 1);
  return {
    machine: `${cpus().length} × ${cpus()[0]?.model.trim()}, ${Math.round(totalmem() / 1024 ** 3)} GiB, Linux ${release()}`,
    node: process.version,
    load1: loadavg()[0]!,
    othersPercent,
    jitterPercent,
    isBusy: othersPercent > 5 || jitterPercent > 15,
  };
}

function processorTime(): { busy: number; total: number } {
  const ticks = /^cpu +(.*)$/m.exec(readFileSync('/proc/stat', 'utf8'))![1]!.split(' ').map(Number);
  const total = ticks.slice(0, 8).reduce((sum, each) => sum + each, 0);
  return { busy: total - ticks[3]! - ticks[4]!, total };
}

function spin(): number {
  const begun = performance.now();
  let value = 1;
  for (let n = 0; n < 1_000_000; n += 1) value = (value * 1_103_515_245 + 12_345) % 2_147_483_648;
  return performance.now() - begun + value * 0;
}

// The same small program with what others offer. A peer that is not installed is left out, and said to be.
import type { Bench, Part } from '../bench.js';
import { startPeer } from '../floors/peer.js';
import { cleanPython, PRINT, runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';
import type { Row } from '../row.js';

const PEERS = [
  {
    work: 'a Jupyter kernel, print(1): it keeps its state, and nothing is isolated',
    program: '/usr/bin/python3',
    file: 'jupyter.py',
  },
  {
    work: '@anthropic-ai/sandbox-runtime, print(1): no limits, nothing kept',
    program: process.execPath,
    file: 'sandbox-runtime.mjs',
  },
] as const;

export const peers: Part = {
  name: 'peers',
  async run(bench) {
    const bare = [cleanPython(await bench.directory()), ...PRINT];
    const rows: Row[] = [];
    for (const peer of PEERS) rows.push(...(await rowOf(bench, bare, peer)));
    return rows;
  },
};

async function rowOf(bench: Bench, bare: string[], { work, program, file }: (typeof PEERS)[number]) {
  const peer = await startPeer(bench, program, file);
  if (!peer) {
    console.error(`${file} cannot run: see bench/README.md for what it needs`);
    return [];
  }
  const pairs = await inTurns(Math.ceil(bench.effort.pairs / 2), {
    floor: () => timed(() => runProgram(bare)),
    product: () =>
      timed(async () => {
        const answer = await peer.ask();
        if (answer !== '1') throw new Error(`${file} answered ${answer}`);
      }),
  });
  return [ratioRow(pairs, { work, unit: 'ms', floorIs: 'B' })];
}

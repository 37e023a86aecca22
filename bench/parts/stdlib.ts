// A program that imports what programs import.
import type { Part } from '../bench.js';
import { cleanPython, runProgram } from '../floors/programs.js';
import { inTurns, ratioRow, timed } from '../pairs.js';

const CODE =
  'import argparse, asyncio, collections, csv, datetime, functools, hashlib, io, itertools, json, logging, math, ' +
  'pathlib, random, re, sqlite3, statistics, subprocess, tempfile, urllib.request\nprint(1)';

export const stdlib: Part = {
  name: 'stdlib',
  async run(bench) {
    const bare = cleanPython(await bench.directory());
    const service = await bench.service();
    const sessionId = await service.session();
    const pairs = await inTurns(bench.effort.pairs, {
      floor: () => timed(() => runProgram([bare, '-c', CODE])),
      product: () => timed(() => service.run(sessionId, 'run.python', { code: CODE })),
    });
    return [
      ratioRow(pairs, {
        work: 'run.python with 20 imports of the standard library',
        unit: 'ms',
        floorIs: 'python3 -c with the same',
        budget: { is: '≤', value: 0.25 },
      }),
    ];
  },
};

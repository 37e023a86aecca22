// What a file tool is given, on a directory of the test: its files are real, the rest of the sandbox is not there.
import type { Test } from 'tap';
import type { Sandbox } from '../../src/sandbox/sandbox.js';
import type { Progress, ToolContext } from '../../src/tools/tool.js';
import { startFileHelper } from './file-helper.js';

export interface ToolBench extends ToolContext {
  readonly root: string;
  readonly reported: Progress[];
}

/** A workspace with this content, and the context of a tool that runs in it. */
export function toolBench(
  t: Test,
  content: Parameters<Test['testdir']>[0] = {},
  changes: Partial<ToolContext> = {},
): ToolBench {
  const root = t.testdir(content);
  const { files } = startFileHelper(t, root);
  const reported: Progress[] = [];
  return {
    root,
    reported,
    sandbox: { files } as unknown as Sandbox,
    signal: new AbortController().signal,
    killGraceMs: 250,
    memoryBytes: undefined,
    maxInlineBytes: 8 * 1024 * 1024,
    settings: { pipIndexUrl: '', pipFileHosts: [] },
    begin: async () => {},
    progress: (progress) => reported.push(progress),
    output: () => {},
    running: () => {},
    ...changes,
  };
}

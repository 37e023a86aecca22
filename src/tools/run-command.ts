import { Type } from '@sinclair/typebox';
import { closed, NO_NUL } from '../lib/typebox.js';
import { checkTaskProgram } from '../sandbox/exec-limits.js';
import { PROGRAM_RULES, processArguments, processOutputs, runProcess } from './process.js';
import { defineTool } from './tool.js';

/** Runs any program of the sandbox: an argv as it is, or a line for `sh -c`. */
export const runCommand = defineTool({
  name: 'run.command',
  description: `Runs a program: an array is started as it is, a string is given to \`sh -c\`. ${PROGRAM_RULES}`,
  hasStreams: true,
  unfinishedOutputs: { exitCode: null },
  arguments: closed(
    {
      command: Type.Union(
        [
          Type.Array(Type.String({ pattern: NO_NUL }), { minItems: 1, maxItems: 4096 }),
          Type.String({ minLength: 1, pattern: NO_NUL }),
        ],
        { description: 'Program and arguments, or a shell line.' },
      ),
      ...processArguments,
    },
    {
      $id: 'RunCommandArguments',
      examples: [{ command: ['ls', '-la'] }, { command: 'wc -l *.py | sort -n' }],
    },
  ),
  outputs: closed(processOutputs, { $id: 'RunCommandOutputs' }),
  check: checkTaskProgram,
  run(context, args) {
    const argv = typeof args.command === 'string' ? ['/bin/sh', '-c', args.command] : args.command;
    return runProcess(context, { kind: 'argv', argv }, args);
  },
});

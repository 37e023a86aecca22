import { Type } from '@sinclair/typebox';
import { ValidationFailed } from '../errors.js';
import { closed, NO_NUL } from '../lib/typebox.js';
import { checkTaskProgram } from '../sandbox/exec-limits.js';
import { PROGRAM_RULES, processArguments, processOutputs, runProcess } from './process.js';
import { defineTool } from './tool.js';

/** Runs Python in the session's warm interpreter: code of any length, or a file of the workspace. */
export const runPython = defineTool({
  name: 'run.python',
  description: `Runs Python code, or a file of the workspace, with the session’s packages, as \`python3\` does: names of one task are not there in the next. stdout and stderr are kept apart and streamed as they come. ${PROGRAM_RULES}`,
  hasStreams: true,
  unfinishedOutputs: { exitCode: null },
  arguments: closed(
    {
      code: Type.Optional(Type.String({ description: 'Source text. Give this or `file`.' })),
      file: Type.Optional(
        Type.String({
          minLength: 1,
          maxLength: 4096,
          pattern: NO_NUL,
          description: 'A script below the workspace. Give this or `code`.',
        }),
      ),
      args: Type.Optional(
        Type.Array(Type.String({ pattern: NO_NUL }), {
          maxItems: 1024,
          description: 'sys.argv after the script’s own name.',
        }),
      ),
      ...processArguments,
    },
    {
      $id: 'RunPythonArguments',
      examples: [{ code: 'print(2 + 2)' }, { file: 'script.py', args: ['--fast'] }],
    },
  ),
  outputs: closed(processOutputs, { $id: 'RunPythonOutputs' }),
  check(args) {
    checkTaskProgram({ env: args.env });
    if ((args.code === undefined) === (args.file === undefined)) {
      throw new ValidationFailed([
        { where: '/body/arguments', rule: 'must have exactly one of "code" and "file"' },
      ]);
    }
  },
  run(context, args) {
    return runProcess(
      context,
      { kind: 'python', code: args.code, file: args.file, args: args.args ?? [] },
      args,
    );
  },
});

import { Type } from '@sinclair/typebox';
import { ValidationFailed } from '../errors.js';
import { closed, NO_NUL } from '../lib/typebox.js';
import { installFailure } from './install-words.js';
import {
  alreadyInstalled,
  failedRequirements,
  installedPackages,
  pipPhase,
  pipReason,
} from './pip-output.js';
import { PipReport } from './pip-report.js';
import { runProcess } from './process.js';
import { isRequirement, MAX_REQUIREMENTS, splitRequirements } from './requirement.js';
import { defineTool, type ToolContext } from './tool.js';

const Package = closed({ name: Type.String(), version: Type.String() });

/** pip's output that is read for results; far more than it says about 256 requirements. */
const MAX_READ_CHARS = 1024 * 1024;

/** Installs packages into the session's virtual environment, from the index the operator chose and nowhere else. */
export const pkgInstall = defineTool({
  name: 'pkg.install',
  description:
    'Installs packages from the operator’s package index into the session’s virtual environment with pip. Wheels only: no setup code runs.',
  hasStreams: true,
  unfinishedOutputs: { installed: [], alreadyInstalled: [], failed: [], exitCode: null },
  arguments: closed(
    {
      requirements: Type.Union(
        [
          Type.Array(Type.String({ minLength: 1, maxLength: 512, pattern: NO_NUL }), {
            minItems: 1,
            maxItems: MAX_REQUIREMENTS,
          }),
          Type.String({ minLength: 1, maxLength: 65_536, pattern: NO_NUL }),
        ],
        { description: 'Requirement specifiers (PEP 508, no URLs or options): an array, or one a line.' },
      ),
      upgrade: Type.Optional(
        Type.Boolean({ default: false, description: 'Replace what is there by the newest that fits.' }),
      ),
      noDeps: Type.Optional(Type.Boolean({ default: false, description: 'Leave dependencies out.' })),
    },
    { $id: 'PkgInstallArguments', examples: [{ requirements: ['requests', 'flask==2.3.0'] }] },
  ),
  outputs: closed(
    {
      installed: Type.Array(Package, {
        description: 'What pip put in place now, dependencies included, by pip’s own report.',
      }),
      alreadyInstalled: Type.Array(Package, {
        description:
          'What was asked for, or needed, and there before, by what files in the session say of themselves.',
      }),
      failed: Type.Array(Type.String(), { description: 'The requirements that pip named as failing.' }),
      stdout: Type.String(),
      stderr: Type.String(),
      stdoutBytes: Type.Integer(),
      stderrBytes: Type.Integer(),
      stdoutTruncated: Type.Boolean(),
      stderrTruncated: Type.Boolean(),
      exitCode: Type.Union([Type.Integer(), Type.Null()]),
    },
    { $id: 'PkgInstallOutputs' },
  ),
  check(args) {
    const listed = requirementsOf(args.requirements);
    const where = '/body/arguments/requirements';
    if (listed.length === 0) throw new ValidationFailed([{ where, rule: 'must name at least one package' }]);
    if (listed.length > MAX_REQUIREMENTS) {
      throw new ValidationFailed([
        { where, given: listed.length, rule: `must name at most ${MAX_REQUIREMENTS} packages` },
      ]);
    }
    const wrong = listed.filter((item) => !isRequirement(item));
    if (wrong.length > 0) {
      throw new ValidationFailed(
        wrong
          .slice(0, 10)
          .map((given) => ({ where, given, rule: 'must be a requirement specifier such as "flask==2.3.0"' })),
        { suggestion: 'Give names with versions; options, paths, files and URLs are not accepted.' },
      );
    }
  },
  async run(context, args) {
    const said = { stdout: '', stderr: '' };
    let unread = '';
    const report = new PipReport();
    const listening: ToolContext = {
      ...context,
      output(stream, bytes) {
        const chunk = stream === 'stdout' ? report.shown(bytes) : bytes;
        if (chunk.length === 0) return;
        const text = chunk.toString('utf8');
        if (said[stream].length < MAX_READ_CHARS) said[stream] += text;
        if (stream === 'stdout') unread = reportPhases(context, unread + text);
        return context.output(stream, chunk);
      },
    };
    const { pipIndexUrl, pipFileHosts } = context.settings;
    const hosts = [hostAndPort(pipIndexUrl), ...pipFileHosts];
    const result = await runProcess(
      listening,
      {
        kind: 'pip',
        reportMark: report.mark,
        args: [
          'install',
          '--only-binary',
          ':all:',
          '--progress-bar',
          'off',
          '--index-url',
          pipIndexUrl,
          ...(args.upgrade ? ['--upgrade'] : []),
          ...(args.noDeps ? ['--no-deps'] : []),
          '--',
          ...requirementsOf(args.requirements),
        ],
      },
      {},
      { allow: hosts, mayBePrivate: hosts },
    );
    const { exitCode } = result.outputs;
    const outputs = {
      installed: exitCode === 0 ? (report.installed() ?? installedPackages(said.stdout)) : [],
      alreadyInstalled: alreadyInstalled(said.stdout),
      failed: exitCode === 0 ? [] : failedRequirements(said.stderr),
      exitCode,
    };
    if (result.ending?.cause !== 'exited' || exitCode === 0) return { ...result, outputs };
    const reason = pipReason(said.stderr) || `pip exited with code ${exitCode}`;
    const { egressRefused: refused = [] } = result.end;
    return {
      ...result,
      outputs,
      ending: {
        ...result.ending,
        cause: 'toolError',
        code: 'INSTALL_FAILED',
        message: installFailure(refused, reason, hostAndPort(pipIndexUrl)),
      },
    };
  },
});

function requirementsOf(given: string | string[]): string[] {
  return typeof given === 'string' ? splitRequirements(given) : given.map((item) => item.trim());
}

/** Reports the phases that whole lines of this text begin; returns the line that is not whole yet. */
function reportPhases(context: ToolContext, text: string): string {
  const lines = text.split('\n');
  const unfinished = lines.pop()!;
  for (const line of lines) {
    const phase = pipPhase(line);
    if (phase) context.progress(phase);
  }
  return unfinished.slice(-4096);
}

function hostAndPort(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === 'https:' ? 443 : 80)}`;
}

// What pip says, read line by line: its phases while it works, and afterwards what it did or why it did not.
import { beginning } from '../lib/clip.js';
import { isPackage } from './pip-report.js';
import type { Progress } from './tool.js';

export interface InstalledPackage {
  name: string;
  version: string;
}

const PHASES: readonly [RegExp, string][] = [
  [/^Collecting /, 'resolving'],
  [/^(?: {2})?(?:Downloading|Obtaining) /, 'downloading'],
  [/^Installing collected packages/, 'installing'],
  [/^Successfully installed/, 'installed'],
  [/^Requirement already satisfied/, 'resolving'],
];

/** The phase a line of pip's output begins, or undefined when it begins none. */
export function pipPhase(line: string): Progress | undefined {
  const phase = PHASES.find(([pattern]) => pattern.test(line));
  if (!phase) return undefined;
  return {
    percentComplete: phase[1] === 'installed' ? 100 : null,
    stage: phase[1],
    message: beginning(line.trim(), 200),
  };
}

/** What pip put in place, from its closing line: for a pip that writes no report (before 22.2). */
export function installedPackages(stdout: string): InstalledPackage[] {
  const begin = 'Successfully installed ';
  const closing = stdout.split('\n').findLast((line) => line.startsWith(begin)) ?? begin;
  return closing
    .slice(begin.length)
    .split(' ')
    .map((item) => ({
      name: item.slice(0, item.lastIndexOf('-')),
      version: item.slice(item.lastIndexOf('-') + 1),
    }))
    .filter(isPackage);
}

/** What was asked for and there already, as the files in the session say. */
export function alreadyInstalled(stdout: string): InstalledPackage[] {
  const found = new Map<string, InstalledPackage>();
  for (const line of stdout.split('\n')) {
    const match = /^Requirement already satisfied: ([A-Za-z0-9._-]*[A-Za-z0-9]).*\(([^()\s]+)\)\s*$/.exec(
      line,
    );
    const [, name = '', version = ''] = match ?? [];
    if (isPackage({ name, version })) found.set(name.toLowerCase(), { name, version });
  }
  return [...found.values()];
}

/** pip's own reason, from its ERROR lines; empty when it gave none. */
export function pipReason(stderr: string): string {
  const lines = stderr.split('\n').map((line) => line.trim());
  const errors = lines
    .filter((line) => line.startsWith('ERROR: '))
    .map((line) => line.slice('ERROR: '.length));
  const reason = (errors.length > 0 ? errors : lines.filter((line) => line !== '').slice(-1)).join(' ');
  return beginning(reason, 2000);
}

/** The requirements that pip's reasons name. */
export function failedRequirements(stderr: string): string[] {
  const named = new Set<string>();
  for (const match of stderr.matchAll(
    /(?:No matching distribution found for|requirement|Could not install) ([A-Za-z0-9][^\s;(]*)/g,
  )) {
    named.add(match[1]!);
  }
  return [...named];
}

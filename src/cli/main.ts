#!/usr/bin/env node
// The command line: `codegen-worker COMMAND`.
import { ConfigError, loadConfig } from '../config.js';
import { VERSION } from '../lib/version.js';

const USAGE = `Usage: codegen-worker COMMAND

  start                     run the service (settings are environment variables, see docs/configuration.md)
  doctor                    say what this machine offers for isolation, and how to mend what is missing
  openapi                   print the OpenAPI document
  openapi --write, --check  write, or compare, what is generated from the code: openapi/ and tables in docs/
  version                   print the version
`;

process.exitCode = await run(process.argv.slice(2));

/** Gives the exit code, or undefined when the process lives on by itself. */
async function run([command, ...rest]: string[]): Promise<number | undefined> {
  switch (command) {
    case 'start':
      await import('../main.js');
      return undefined;
    case 'doctor': {
      const { runDoctor } = await import('./doctor.js');
      return runDoctor(readConfig(), rest);
    }
    case 'openapi': {
      const { runOpenapi } = await import('./openapi.js');
      return runOpenapi(rest);
    }
    case 'version':
    case '--version':
      process.stdout.write(`${VERSION}\n`);
      return 0;
    case 'help':
    case '--help':
    case '-h':
      process.stdout.write(USAGE);
      return 0;
    default:
      process.stderr.write(command === undefined ? USAGE : `There is no command "${command}".\n\n${USAGE}`);
      return 2;
  }
}

function readConfig() {
  try {
    return loadConfig(process.env);
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
}

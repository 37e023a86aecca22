// The file helper outside a sandbox: the same Python, as a plain child, on a directory of the test.
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Test } from 'tap';
import type { HelperChannel } from '../../src/sandbox/agent.js';
import { HelperFiles } from '../../src/sandbox/files.js';

const LIBRARY = fileURLToPath(new URL('../../src/sandbox/python', import.meta.url));
const SERVE = 'import sys; sys.path.insert(0, sys.argv[1]); import files; files.serve(0, 1, sys.argv[2])';

export interface FileHelper {
  readonly files: HelperFiles;
  /** The helper processes started so far, the newest last. */
  readonly children: ChildProcess[];
  /** Resolves when all of them are gone. */
  end(): Promise<void>;
}

/** Files of `root` through a helper of its own, ended with the test. */
export function startFileHelper(t: Test, root: string, options: { setup?: string } = {}): FileHelper {
  const children: ChildProcess[] = [];
  const end = async () => void (await Promise.all(children.map(ended)));
  t.teardown(end);
  const connect = async () => {
    const child = spawn(
      '/usr/bin/python3',
      ['-I', '-S', '-c', `${options.setup ?? ''}\n${SERVE}`, LIBRARY, root],
      { stdio: ['pipe', 'pipe', 'inherit'] },
    );
    children.push(child);
    return channelOf(child);
  };
  return { files: new HelperFiles(connect), children, end };
}

function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return Promise.resolve();
  return new Promise((resolve) => {
    child.once('exit', () => resolve());
    child.kill('SIGKILL');
  });
}

function channelOf(child: ChildProcess): HelperChannel {
  const closed = new Promise<Error>((resolve) => {
    child.once('exit', (code, signal) => resolve(new Error(`helper ended: ${code ?? signal}`)));
  });
  child.stdin!.on('error', () => {});
  return {
    send(message) {
      const head = Buffer.alloc(4);
      head.writeUInt32BE(message.length);
      return new Promise((resolve, reject) => {
        child.stdin!.write(Buffer.concat([head, message]), (error) => (error ? reject(error) : resolve()));
      });
    },
    onMessage(handler) {
      let buffered = Buffer.alloc(0);
      child.stdout!.on('data', (chunk: Buffer) => {
        buffered = Buffer.concat([buffered, chunk]);
        while (buffered.length >= 4 && buffered.length >= 4 + buffered.readUInt32BE(0)) {
          const end = 4 + buffered.readUInt32BE(0);
          handler(buffered.subarray(4, end));
          buffered = buffered.subarray(end);
        }
      });
    },
    onClosed(handler) {
      void closed.then(handler);
    },
    expectAnswer: () => () => {},
    retire() {},
    kill() {
      child.kill('SIGKILL');
    },
  };
}

// Files of /proc and of control groups. They are the kernel's memory and no disk: a read waits for nobody, and done here
// it takes a fraction of what handing it to a thread takes (open, stat, read and close, each a trip, and 64 KiB for what
// is a few bytes). A write may have to wait, be it for a moment in which no processor reads what it changes, or for
// memory to be given up: it goes to a thread, in one trip.
import { closeSync, constants, openSync, readSync, write } from 'node:fs';
import { promisify } from 'node:util';

const writeText: (fd: number, text: string) => Promise<unknown> = promisify(write);
const buffer = Buffer.allocUnsafeSlow(64 * 1024);

/** Its whole text. Null when it is not there, or what it speaks of has gone. */
export function readKernelFile(path: string): string | null {
  try {
    const fd = openSync(path, constants.O_RDONLY);
    try {
      let text = '';
      // The kernel hands out as many whole lines at a time as it likes: only nothing means the end.
      for (let bytes = -1; bytes !== 0; text += buffer.toString('latin1', 0, bytes))
        bytes = readSync(fd, buffer);
      return text;
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isCode(error, 'ENOENT') || isCode(error, 'ENODEV') || isCode(error, 'ESRCH')) return null;
    throw error;
  }
}

/** Writes to one that exists; one write is one command. */
export async function tell(path: string, value: string | number): Promise<void> {
  const fd = openSync(path, constants.O_WRONLY);
  try {
    await writeText(fd, String(value));
  } finally {
    closeSync(fd);
  }
}

/** One number out of a file: its whole content, or the line that starts with `key`. Null when either cannot be had. */
export function readNumber(path: string, key = ''): number | null {
  try {
    const text = readKernelFile(path) ?? '';
    const at = key === '' ? 0 : `\n${text}`.indexOf(`\n${key} `);
    if (at < 0) return null;
    const number = Number.parseInt(text.slice(at + key.length), 10);
    return Number.isFinite(number) ? number : null;
  } catch {
    return null;
  }
}

export function isCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code;
}

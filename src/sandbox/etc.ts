// The /etc of sandboxes: made once at the start, from files of our own and copies of what visible programs read there. Of
// the host's files only those are taken that everybody may read, from a list that holds no accounts, keys or settings of
// the operator's; the operator may name more.
import { constants } from 'node:fs';
import { chmod, copyFile, lstat, mkdir, readdir, readlink, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';

const HOST_ETC = '/etc';
const MAX_ENTRIES = 10_000;

/** Below /etc; `*` stands for versions. */
export const COPIED_FROM_ETC = [
  ...['services', 'protocols', 'rpc', 'ethertypes', 'gai.conf', 'host.conf'],
  ...['ssl/openssl.cnf', 'ca-certificates.conf'],
  ...['mime.types', 'mailcap', 'magic', 'magic.mime', 'xml', 'sgml'],
  ...['debian_version', 'os-release', 'lsb-release', 'timezone', 'locale.alias'],
  ...['terminfo', 'inputrc', 'nanorc', 'vim', 'groff', 'manpath.config'],
  ...['fonts', 'ImageMagick-*', 'ghostscript', 'papersize', 'texmf', 'glvnd', 'OpenCL', 'vulkan'],
  ...['java*', 'perl', 'python3*', 'R', 'ruby*', 'lua*', 'octave*'],
] as const;

export class EtcNotShown extends Error {}

/** Fills `target`; `shown` are host paths that are bound over it, so that they need a place there. */
export async function fillEtc(
  target: string,
  own: Readonly<Record<string, string>>,
  shown: readonly string[],
  more: readonly string[],
): Promise<void> {
  await makeDirectory(target);
  const copy = new EtcCopy(target);
  const names = await readdir(HOST_ETC);
  for (const pattern of COPIED_FROM_ETC) {
    for (const name of matching(pattern, names)) await copy.take(name);
  }
  for (const name of more) {
    if (await copy.take(name)) continue;
    const rule = 'must be below /etc, and a file or folder that every user may read';
    throw new EtcNotShown(`SANDBOX_ETC: ${JSON.stringify(name)} ${rule}; correct it or take it out.`);
  }
  for (const [name, text] of Object.entries(own)) await writeReadable(join(target, name), text);
  for (const path of shown) await makePlace(path, target);
}

/** Says what is wrong with a name for `SANDBOX_ETC`, before anything is looked up. */
export const isNameBelowEtc = (name: string) =>
  !name.startsWith('/') && name.split('/').every((part) => !['', '.', '..'].includes(part));

function matching(pattern: string, names: readonly string[]): string[] {
  if (!pattern.endsWith('*')) return [pattern];
  return names.filter((name) => name.startsWith(pattern.slice(0, -1)));
}

class EtcCopy {
  #entries = 0;

  constructor(private readonly target: string) {}

  /** False when it is not there, or not for everybody. */
  async take(name: string): Promise<boolean> {
    if (!isNameBelowEtc(name)) return false;
    for (let at = name.indexOf('/'); at >= 0; at = name.indexOf('/', at + 1)) {
      const above = await stat(join(HOST_ETC, name.slice(0, at))).catch(() => null);
      if (!above || !isForAll(above.mode, constants.S_IXOTH)) return false;
      await makeDirectory(join(this.target, name.slice(0, at)));
    }
    return this.#copy(join(HOST_ETC, name), join(this.target, name));
  }

  async #copy(source: string, target: string): Promise<boolean> {
    this.#entries += 1;
    const found = await lstat(source).catch(() => null);
    if (!found || this.#entries > MAX_ENTRIES) return false;
    if (found.isSymbolicLink()) return this.#copyLink(source, target);
    if (found.isDirectory()) {
      if (!isForAll(found.mode, constants.S_IROTH | constants.S_IXOTH)) return false;
      await makeDirectory(target);
      for (const name of await readdir(source)) await this.#copy(join(source, name), join(target, name));
      return true;
    }
    if (!found.isFile() || !isForAll(found.mode, constants.S_IROTH)) return false;
    await copyFile(source, target);
    await chmod(target, 0o644);
    return true;
  }

  /** One that leads to what is visible inside stays one; other files are copied from where they are, if all may read them. */
  async #copyLink(source: string, target: string): Promise<boolean> {
    const to = await readlink(source);
    const place = resolve(dirname(source), to);
    if (place.startsWith('/usr/') || place.startsWith('/etc/alternatives/')) {
      await symlink(place, target).catch(ignoreExisting);
      return true;
    }
    const found = await stat(source).catch(() => null);
    if (!place.startsWith(`${HOST_ETC}/`) || !found?.isFile() || !isForAll(found.mode, constants.S_IROTH))
      return false;
    await copyFile(source, target);
    await chmod(target, 0o644);
    return true;
  }
}

const isForAll = (mode: number, bits: number) => (mode & bits) === bits;

/** For a host path below /etc that is bound over it. */
async function makePlace(path: string, etc: string): Promise<void> {
  const found = path.startsWith(`${HOST_ETC}/`) ? await stat(path).catch(() => null) : null;
  if (!found) return;
  const place = join(etc, path.slice(HOST_ETC.length + 1));
  await makeDirectory(dirname(place));
  if (found.isDirectory()) await makeDirectory(place);
  else await writeReadable(place, '');
}

async function writeReadable(path: string, content: string): Promise<void> {
  await writeFile(path, content);
  await chmod(path, 0o644);
}

async function makeDirectory(path: string): Promise<void> {
  await mkdir(path, { recursive: true });
  await chmod(path, 0o755);
}

function ignoreExisting(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EEXIST') throw error;
}

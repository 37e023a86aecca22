// Small wheels made by hand, so that a test of pip needs no network and no build tool.
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';

export interface WheelSpec {
  readonly name: string;
  readonly version: string;
  /** Requirement specifiers, e.g. `tinydep>=2`. */
  readonly requires?: readonly string[];
  /** Console scripts: the program's name and the `module:function` it calls. */
  readonly scripts?: Readonly<Record<string, string>>;
  /** Python sources by path. Default: a module of the package's name that knows its `__version__`. */
  readonly files?: Readonly<Record<string, string>>;
}

/** A pure-Python wheel, ready to be installed. */
export function makeWheel(spec: WheelSpec): { filename: string; bytes: Buffer } {
  const info = `${spec.name}-${spec.version}.dist-info`;
  const contents: Record<string, string> = {
    ...(spec.files ?? { [`${spec.name}.py`]: `__version__ = ${JSON.stringify(spec.version)}\n` }),
    [`${info}/METADATA`]: [
      'Metadata-Version: 2.1',
      `Name: ${spec.name}`,
      `Version: ${spec.version}`,
      ...(spec.requires ?? []).map((requirement) => `Requires-Dist: ${requirement}`),
      '',
    ].join('\n'),
    [`${info}/WHEEL`]: 'Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n',
  };
  if (spec.scripts) {
    const lines = Object.entries(spec.scripts).map(([program, target]) => `${program} = ${target}`);
    contents[`${info}/entry_points.txt`] = `[console_scripts]\n${lines.join('\n')}\n`;
  }
  const record = Object.entries(contents).map(
    ([path, text]) => `${path},${recordHash(text)},${Buffer.byteLength(text)}`,
  );
  contents[`${info}/RECORD`] = `${record.join('\n')}\n${info}/RECORD,,\n`;
  return {
    filename: `${spec.name}-${spec.version}-py3-none-any.whl`,
    bytes: zip(Object.entries(contents).map(([path, text]) => ({ path, bytes: Buffer.from(text) }))),
  };
}

function recordHash(text: string): string {
  return `sha256=${createHash('sha256').update(text).digest('base64url')}`;
}

/** A zip archive whose entries are stored, not compressed. */
function zip(entries: readonly { path: string; bytes: Buffer }[]): Buffer {
  const bodies: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const { path, bytes } of entries) {
    const name = Buffer.from(path);
    // Version 2.0, no flags, stored, 1980-01-01 00:00.
    const common = Buffer.alloc(26);
    common.writeUInt16LE(20, 0);
    common.writeUInt16LE(0x21, 8);
    common.writeUInt32LE(crc32(bytes), 10);
    common.writeUInt32LE(bytes.length, 14);
    common.writeUInt32LE(bytes.length, 18);
    common.writeUInt16LE(name.length, 22);
    bodies.push(signature(0x04034b50), common, name, bytes);
    const rest = Buffer.alloc(14);
    rest.writeUInt32LE(0o100644 * 0x10000, 6);
    rest.writeUInt32LE(offset, 10);
    const madeBy = Buffer.from([20, 3]);
    directory.push(signature(0x02014b50), madeBy, common, rest, name);
    offset += 4 + common.length + name.length + bytes.length;
  }
  const listing = Buffer.concat(directory);
  const end = Buffer.alloc(18);
  end.writeUInt16LE(entries.length, 4);
  end.writeUInt16LE(entries.length, 6);
  end.writeUInt32LE(listing.length, 8);
  end.writeUInt32LE(offset, 12);
  return Buffer.concat([...bodies, listing, signature(0x06054b50), end]);
}

function signature(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
}

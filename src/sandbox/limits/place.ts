// Where this process stands in the cgroup hierarchies of the host, from its own /proc files.
import { posix } from 'node:path';

export interface CgroupPlace {
  /** Directory of our own group in the v2 hierarchy; on hybrid hosts that one exists beside v1, often without controllers. */
  readonly unified: string | null;
  /** Directory of our own group for each v1 controller. */
  readonly controllers: ReadonlyMap<string, string>;
}

/** Reads `/proc/self/mountinfo` and `/proc/self/cgroup`. A group that is mounted nowhere we can see is left out. */
export function findPlace(mountinfo: string, selfCgroup: string): CgroupPlace {
  const own = parseSelfCgroup(selfCgroup);
  const controllers = new Map<string, string>();
  let unified: string | null = null;
  for (const mount of parseCgroupMounts(mountinfo)) {
    if (mount.type === 'cgroup2') {
      unified ??= directoryOf(mount, own.get(''));
      continue;
    }
    for (const option of mount.superOptions) {
      const directory = own.has(option) ? directoryOf(mount, own.get(option)) : null;
      if (directory !== null && !controllers.has(option)) controllers.set(option, directory);
    }
  }
  return { unified, controllers };
}

interface CgroupMount {
  readonly type: string;
  /** What part of the hierarchy is mounted; in a container often not its root. */
  readonly root: string;
  readonly point: string;
  readonly superOptions: readonly string[];
}

function parseCgroupMounts(mountinfo: string): CgroupMount[] {
  return mountinfo.split('\n').flatMap((line) => {
    const [left, right] = line.split(' - ');
    const [type, , superOptions] = right?.split(' ') ?? [];
    const [, , , root, point] = left?.split(' ') ?? [];
    if ((type !== 'cgroup' && type !== 'cgroup2') || root === undefined || point === undefined) return [];
    return [
      {
        type,
        root: unescapeOctal(root),
        point: unescapeOctal(point),
        superOptions: superOptions?.split(',') ?? [],
      },
    ];
  });
}

/** Controller → path of our group; the v2 hierarchy has the empty name. */
function parseSelfCgroup(selfCgroup: string): Map<string, string> {
  const paths = new Map<string, string>();
  for (const line of selfCgroup.split('\n')) {
    const [, names, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    if (names === undefined || path === undefined) continue;
    for (const name of names.split(',')) paths.set(name, path);
  }
  return paths;
}

function directoryOf(mount: CgroupMount, path: string | undefined): string | null {
  if (path === undefined) return null;
  const below = posix.relative(mount.root, path);
  return below === '..' || below.startsWith('../') ? null : posix.join(mount.point, below);
}

/** mountinfo writes space, tab, newline and backslash as octal. */
const unescapeOctal = (text: string) =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

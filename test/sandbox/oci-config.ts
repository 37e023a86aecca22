import t from 'tap';
import { type OciSpec, ociConfig } from '../../src/sandbox/oci-config.js';

interface Config {
  readonly root: { readonly readonly: boolean };
  readonly process: {
    readonly user: { readonly uid: number; readonly gid: number };
    readonly capabilities: Record<string, string[]>;
    readonly noNewPrivileges: boolean;
  };
  readonly mounts: { readonly destination: string; readonly type: string; readonly options: string[] }[];
  readonly linux: { readonly namespaces: { readonly type: string }[]; readonly uidMappings?: object[] };
}

const config = (changes: Partial<OciSpec> = {}) =>
  ociConfig({
    policy: {
      workspace: { source: '/data/w', writable: true },
      library: '/run/lib',
      binds: [{ source: '/data/pip', target: '/run/pip' }],
      command: ['true'],
    },
    root: '/run/root',
    etc: '/run/lib/etc',
    uid: 200_001,
    userNamespace: true,
    visible: ['/usr', '/etc/localtime'],
    cgroupsPath: '/x',
    ...changes,
  }) as Config;

t.test('only the workspace and sized temporary directories can be written', async (t) => {
  const { root, mounts } = config();
  t.ok(root.readonly);
  const writable = mounts.filter(({ type, options }) => type !== 'proc' && !options.includes('ro'));
  t.same(
    writable.map(({ destination }) => destination),
    ['/dev/shm', '/tmp', '/workspace'],
  );
  for (const { destination, type, options } of writable.filter((each) => each.type === 'tmpfs')) {
    t.ok(
      options.some((option) => option.startsWith('size=')),
      `${destination} ${type}`,
    );
  }
});

t.test('no capability that was not asked for, and no way to more', async (t) => {
  const { process } = config();
  t.ok(process.noNewPrivileges);
  t.same(Object.values(process.capabilities).flat(), []);
});

t.test('nobody inside is root on the host, with a user namespace and without', async (t) => {
  const apart = config();
  t.same(apart.process.user, { uid: 1000, gid: 1000 });
  t.match(apart.linux.uidMappings, [
    { containerID: 0, hostID: 65_534 },
    { containerID: 1000, hostID: 200_001 },
  ]);
  const shared = config({ userNamespace: false });
  t.same(shared.process.user, { uid: 200_001, gid: 200_001 });
  t.notOk(shared.linux.uidMappings);
  const types = ({ linux }: Config) => linux.namespaces.map(({ type }) => type);
  t.same(types(shared), ['pid', 'ipc', 'uts', 'mount', 'network']);
  t.same(types(apart), [...types(shared), 'user']);
});

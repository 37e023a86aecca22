import t from 'tap';
import { findPlace } from '../../../src/sandbox/limits/place.js';

t.test('on a v2 host our group is below the one mount', async (t) => {
  const place = findPlace(
    '25 20 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n',
    '0::/system.slice/codegen-worker.service\n',
  );
  t.equal(place.unified, '/sys/fs/cgroup/system.slice/codegen-worker.service');
  t.equal(place.controllers.size, 0);
});

t.test('on a hybrid host every controller has its own place', async (t) => {
  const place = findPlace(
    [
      '30 25 0:26 / /sys/fs/cgroup/unified rw - cgroup2 none rw',
      '31 25 0:27 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct',
      '32 25 0:28 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory',
      '33 25 0:29 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd',
    ].join('\n'),
    '12:cpu,cpuacct:/one\n4:memory:/two/three\n1:name=systemd:/\n0::/\n',
  );
  t.equal(place.unified, '/sys/fs/cgroup/unified');
  t.equal(place.controllers.get('cpu'), '/sys/fs/cgroup/cpu,cpuacct/one');
  t.equal(place.controllers.get('cpuacct'), '/sys/fs/cgroup/cpu,cpuacct/one');
  t.equal(place.controllers.get('memory'), '/sys/fs/cgroup/memory/two/three');
  t.notOk(place.controllers.has('pids'));
});

t.test('a mount of a part of the hierarchy is taken from its root', async (t) => {
  const mount = '32 25 0:28 /docker/abc /sys/fs/cgroup/memory\\040here ro - cgroup cgroup rw,memory';
  t.equal(
    findPlace(mount, '4:memory:/docker/abc/x\n').controllers.get('memory'),
    '/sys/fs/cgroup/memory here/x',
  );
  t.notOk(findPlace(mount, '4:memory:/elsewhere\n').controllers.has('memory'), 'not visible, so not ours');
});

t.test('a host without cgroups has no place', async (t) => {
  const place = findPlace('20 1 8:1 / / rw - ext4 /dev/sda1 rw\n', '');
  t.equal(place.unified, null);
  t.equal(place.controllers.size, 0);
});

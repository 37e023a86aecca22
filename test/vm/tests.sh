# In the virtual machine: each test as root at the top of the hierarchy, and as uid 1001 below a group that it owns.
export PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8 TAP_TIMEOUT=1200 CODEGEN_VM=1
ip link set lo up 2>/dev/null || true
echo "kernel $(uname -r), cgroup v2: $(cat /sys/fs/cgroup/cgroup.controllers)"
sysctl -qw kernel.unprivileged_userns_clone=1 2>/dev/null
mkdir -p /repo/.tap && chmod 777 /repo /repo/.tap
failed=0
run() { # who, command…
  local who=$1
  shift
  for test in @TESTS@; do
    if "$@" @NODE@ --enable-source-maps "$test" >/tmp/said 2>&1; then
      echo "passed as $who: $test ($(grep -c '^ok' /tmp/said) tests, $(grep -ci '# skip' /tmp/said) skipped)"
    else
      echo "FAILED as $who: $test"
      grep -n 'not ok' -A 25 /tmp/said | head -80
      tail -5 /tmp/said
      failed=1
    fi
    rm -rf /repo/.tap/fixtures
  done
}
cd /repo
mkdir /sys/fs/cgroup/root-part
echo $$ >/sys/fs/cgroup/root-part/cgroup.procs
echo '+memory +pids +cpu' >/sys/fs/cgroup/cgroup.subtree_control
run root
mkdir -p /sys/fs/cgroup/delegated
chown 1001:1001 /sys/fs/cgroup/delegated /sys/fs/cgroup/delegated/cgroup.{procs,subtree_control,threads}
run 'uid 1001, delegated' bash -c 'echo $$ >/sys/fs/cgroup/delegated/cgroup.procs; exec setpriv --reuid 1001 --regid 1001 --clear-groups "$@"' -
[ $failed = 0 ] && echo 'ALL PASSED'
sync
echo o >/proc/sysrq-trigger
sleep 10

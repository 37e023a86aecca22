#!/bin/busybox sh
# First process of the virtual machine: the host's files with a layer of memory on top, and cgroup v2.
B=/bin/busybox
$B mount -t proc proc /proc
$B mount -t sysfs sys /sys
$B mount -t devtmpfs dev /dev
while read -r module; do $B insmod "/mods/$module" || echo "no $module"; done </mods/order
$B mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=512000,cache=loose hostroot /host
$B mount -t tmpfs tmpfs /rw
$B mkdir /rw/root /rw/root-work /rw/repo /rw/repo-work
$B mount -t overlay overlay -o lowerdir=/host,upperdir=/rw/root,workdir=/rw/root-work /new
$B mkdir -p /new/repo
$B mount -t overlay overlay -o "lowerdir=/host@REPO@,upperdir=/rw/repo,workdir=/rw/repo-work" /new/repo
for point in proc sys dev tmp run; do $B mkdir -p /new/$point; done
$B mount -t proc proc /new/proc
$B mount -t sysfs sys /new/sys
$B mount -t devtmpfs dev /new/dev
$B mkdir -p /new/dev/pts /new/dev/shm
$B mount -t devpts devpts /new/dev/pts
$B mount -t tmpfs -o mode=1777 tmpfs /new/dev/shm
$B mount -t tmpfs -o mode=1777 tmpfs /new/tmp
$B mount -t tmpfs tmpfs /new/run
$B mount -t cgroup2 cgroup2 /new/sys/fs/cgroup
$B cp /tests.sh /new/run/tests.sh
exec $B switch_root /new /bin/bash /run/tests.sh

#!/usr/bin/env bash
# Runs compiled tests in a virtual machine with cgroup v2 only and a Debian kernel, as root and as an ordinary user who
# was given a part of the hierarchy: `test/vm/run.sh build/test/sandbox/limits/find.js …`. Needs qemu-system-x86, kmod and, the
# first time, apt-get to download a kernel and busybox. This machine's own files are the machine's, read-only.
# Emulated without KVM, so that it runs in a machine that is virtual itself: some 20 times slower.
set -euo pipefail
repo=$(cd "$(dirname "$0")/../.." && pwd)
cache=${CODEGEN_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/codegen-worker-vm}
for tool in qemu-system-x86_64:qemu-system-x86 depmod:kmod; do
  command -v "${tool%:*}" >/dev/null || { echo "apt-get install ${tool#*:}" >&2; exit 77; }
done
[ $# -gt 0 ] || { echo 'which tests?' >&2; exit 2; }

download() { # package, file in it that has to be there
  compgen -G "$cache/$2" >/dev/null && return
  (cd "$cache" && apt-get download "$1" >/dev/null && dpkg-deb -x "$1"_*.deb . && rm "$1"_*.deb)
}
mkdir -p "$cache"
download busybox-static bin/busybox
kernel=$(apt-cache depends linux-image-amd64 | sed -n 's/ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
download "$kernel" "boot/vmlinuz-*"
version=$(cd "$cache/boot" && ls vmlinuz-* | sort -V | tail -1 | sed s/vmlinuz-//)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/root"/{bin,mods,proc,sys,dev,host,rw,new}
cp "$cache/bin/busybox" "$work/root/bin/"
modules="$cache/lib/modules/$version"
[ -f "$modules/modules.dep" ] || depmod -b "$cache" "$version"
for wanted in virtio_pci 9pnet_virtio 9p overlay loop ext4 crc32c_generic quota_v2; do
  grep "/$wanted.ko:" "$modules/modules.dep" | tr -d : | tr ' ' '\n' | tac
done | awk 'NF && !seen[$0]++' | while read -r module; do
  cp "$modules/$module" "$work/root/mods/"
  basename "$module"
done >"$work/root/mods/order"
sed "s|@REPO@|$repo|g; s|@NODE@|$(command -v node)|g; s|@TESTS@|$*|g" "$repo/test/vm/init.sh" >"$work/root/init"
sed "s|@REPO@|$repo|g; s|@NODE@|$(command -v node)|g; s|@TESTS@|$*|g" "$repo/test/vm/tests.sh" >"$work/root/tests.sh"
chmod +x "$work/root/init"
(cd "$work/root" && find . | "$cache/bin/busybox" cpio -o -H newc 2>/dev/null | gzip -1 >"$work/initrd")

timeout "${CODEGEN_VM_SECONDS:-1500}" qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 3072 -display none \
  -serial "file:$work/console" -no-reboot -nic none -kernel "$cache/boot/vmlinuz-$version" -initrd "$work/initrd" \
  -append 'console=ttyS0 panic=-1 quiet loglevel=3' \
  -virtfs local,path=/,mount_tag=hostroot,security_model=passthrough,readonly=on,multidevs=remap >/dev/null &
qemu=$!
touch "$work/console"
tail --pid=$qemu -f "$work/console" | tr -d '\r'
wait $qemu || true
grep -q 'ALL PASSED' "$work/console"

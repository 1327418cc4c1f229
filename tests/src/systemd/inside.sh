#!/bin/sh
# Becomes the first process of a small root: nothing of the machine is in it but /usr, read-only. Only cgroups of version
# 2 are there: they count CPU time without further ado, and only this namespace's own are seen.
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$1/root"
units=$1/units
cd "$1/root"
mkdir -p usr run tmp var proc sys dev root old etc/systemd/system
mount --bind /usr usr
mount -o remount,bind,ro usr
for link in bin sbin lib lib64; do
    if [ -e "usr/$link" ]; then ln -s "usr/$link" "$link"; fi
done
if [ -e /etc/ld.so.cache ]; then cp /etc/ld.so.cache etc/; fi
echo 'root:x:0:0:root:/root:/bin/sh' > etc/passwd
echo 'root:x:0:' > etc/group
echo 0123456789abcdef0123456789abcdef > etc/machine-id
cp "$units"/* etc/systemd/system/
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/pts dev/shm
for one in null zero full random urandom; do
    touch "dev/$one"
    mount --bind "/dev/$one" "dev/$one"
done
mount -t tmpfs -o mode=755 tmpfs run
pivot_root . old
umount -l /old
exec env -i PATH=/usr/sbin:/usr/bin container=skerry-test \
    /usr/lib/systemd/systemd --system --unit=skerry-test.target --log-target=null

#!/bin/sh
# The first process of a machine of its own, which sees this one's files and keeps what it writes to itself: it installs secgroupd as the
# README says, beside Debian's nftables.service, and becomes systemd. $1 is a folder with etc/, state/ and nftables.conf, which
# outlast the machine; $2 the program; $3 the repository.
set -eu
folder="$1" program="$2" repository="$3"
layers="$folder/layers"
root="$layers/root"

mount --make-rprivate /
mkdir -p "$layers"
mount -t tmpfs tmpfs "$layers"
mkdir "$layers/upper" "$layers/work" "$root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$root"

# None of the services that this machine has.
rm -rf "$root"/etc/systemd/system/*.wants
mkdir -p "$root/etc/secgroupd" "$root/var/lib/secgroupd" "$root/usr/lib/sysusers.d"
install -m 755 "$program" "$root/usr/bin/secgroupd"
install -m 644 "$repository"/systemd/*.service "$root/etc/systemd/system/"
install -m 644 "$repository/systemd/secgroupd.sysusers" "$root/usr/lib/sysusers.d/secgroupd.conf"
install -m 644 "$folder/nftables.conf" "$root/etc/nftables.conf"
systemctl --quiet --root="$root" enable nftables.service secgroupd.service
cat >"$root/etc/systemd/system/machine.target" <<'UNIT'
[Unit]
Requires=sysinit.target
Wants=secgroupd.service
After=sysinit.target secgroupd.service
UNIT
# Users are made at the first start.
rm -f "$root/etc/machine-id" "$root/etc/.updated"
echo 5ec960cbd5ec960cbd5ec960cbd5ec96 >"$root/etc/machine-id"

mount -t proc proc "$root/proc"
# Settings of the kernel are everybody's, and so are its devices: nobody asks them to say that they are there.
for place in sys sysrq-trigger; do
    [ -e "$root/proc/$place" ] || continue
    mount --bind "$root/proc/$place" "$root/proc/$place"
    mount -o remount,bind,ro "$root/proc/$place"
done
mount -t sysfs -o ro sysfs "$root/sys"
for place in run tmp dev; do mount -t tmpfs -o mode=755 tmpfs "$root/$place"; done
chmod 1777 "$root/tmp"
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
# Below the group that this process was put into; where there is another hierarchy, systemd does not see it.
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount --bind "$folder/etc" "$root/etc/secgroupd"
mount --bind "$folder/state" "$root/var/lib/secgroupd"

mkdir "$root/old"
cd "$root"
pivot_root . old
umount -l /old
exec env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin \
    setpriv --bounding-set -sys_module,-sys_rawio,-sys_time,-mknod,-syslog,-mac_admin,-mac_override \
    /lib/systemd/systemd --unit=machine.target

#!/usr/bin/env bash
# Builds the image of a Debian system (bookworm, trixie) below the working folder: `SYSTEM.img` (ext4 without partitions),
# and the kernel and initrd that qemu boots it with. All packages that a scenario needs are in it: the machine has no network.
# As root, with a network; about 4 minutes on two idle cores.
set -eu -o pipefail
here="$(cd "$(dirname "$0")" && pwd)"
system="$1" work="$2" root="$2/root-$1"
mirror="${SECGROUPD_VM_MIRROR:-http://deb.debian.org/debian}"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

if [ ! -e "$root/.bootstrapped" ]; then
    rm -rf "$root"
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,udev,kmod,ca-certificates,apt "$system" "$root" "$mirror"
    touch "$root/.bootstrapped"
fi
echo "deb $mirror $system main" >"$root/etc/apt/sources.list"
# No service starts while its package is installed.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/vm"
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mount -t sysfs sys "$root/sys"
trap 'umount "$root/proc" "$root/dev" "$root/sys"' EXIT
cp /etc/resolv.conf "$root/etc/resolv.conf"
# A small initrd with what qemu's disk needs: unpacking a full one takes an emulated processor long.
mkdir -p "$root/etc/initramfs-tools/conf.d"
echo "MODULES=list" >"$root/etc/initramfs-tools/conf.d/vm"
packages=(linux-image-amd64 initramfs-tools zstd nftables iptables conntrack iproute2 procps python3 curl ufw firewalld docker.io podman
    netavark crun vim-tiny iputils-ping isc-dhcp-client dnsmasq-base busybox-static openssh-server sudo psmisc polkitd)
if [ "$system" = trixie ]; then packages+=(docker-cli); fi
chroot "$root" apt-get update -q
chroot "$root" apt-get install -q -y --no-install-recommends "${packages[@]}"
printf '%s\n' virtio_pci virtio_blk ext4 crc32c_generic >>"$root/etc/initramfs-tools/modules"
chroot "$root" update-initramfs -u
chroot "$root" apt-get clean
rm "$root/usr/sbin/policy-rc.d" "$root/etc/resolv.conf"

echo vm1 >"$root/etc/hostname"
printf '127.0.0.1 localhost\n127.0.1.1 vm1\n' >"$root/etc/hosts"
echo 'nameserver 192.0.2.53' >"$root/etc/resolv.conf"
echo '/dev/vda / ext4 defaults 0 1' >"$root/etc/fstab"
# Each scenario enables what it shows.
chroot "$root" systemctl disable nftables ufw firewalld docker docker.socket containerd ssh podman.socket podman.service \
    podman-restart podman-auto-update.timer 2>/dev/null || true
chroot "$root" systemctl mask apt-daily.timer apt-daily-upgrade.timer man-db.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer \
    e2scrub_reap.service systemd-networkd-wait-online.service 2>/dev/null || true
sed -i 's/^#\?Storage=.*/Storage=persistent/' "$root/etc/systemd/journald.conf" 2>/dev/null || true
mkdir -p "$root/var/log/journal" "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=persistent\nRateLimitBurst=0\n' >"$root/etc/systemd/journald.conf.d/vm.conf"
install -m 755 "$here/guest/agent.py" "$root/usr/local/sbin/vm-agent"
install -m 755 "$here/guest/net-up" "$root/usr/local/sbin/net-up"
install -m 644 "$here/guest/vm-agent.service" "$here/guest/testnet.service" "$root/etc/systemd/system/"
chroot "$root" systemctl enable vm-agent testnet

umount "$root/proc" "$root/dev" "$root/sys"
trap - EXIT
cp "$root"/boot/vmlinuz-* "$work/$system.kernel"
cp "$root"/boot/initrd.img-* "$work/$system.initrd"
rm -f "$work/$system.img.new"
truncate -s 6G "$work/$system.img.new"
mkfs.ext4 -q -F -d "$root" "$work/$system.img.new"
mv "$work/$system.img.new" "$work/$system.img"
rm -rf "$root"

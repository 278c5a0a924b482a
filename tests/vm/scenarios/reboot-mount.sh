# Reboot with a definition on a file system that is mounted late: the last policy until then, the definition from then on
. "$here/reboot.lib.sh"
start ready
first_packets
vm <<'E'
mkdir /srv/defs; opened >/srv/defs/groups.yaml; rm -r /etc/secgroupd/*
cat >/etc/systemd/system/late-mount.service <<'U'
[Unit]
After=multi-user.target
[Service]
ExecStart=/bin/sh -c 'until [ -e /run/mount-now ]; do sleep 0.2; done; mount --bind /srv/defs /etc/secgroupd'
KillMode=none
[Install]
WantedBy=default.target
U
systemctl enable late-mount
sync
E
restart
booted_enforced
vm <<'E'
status_line
touch /run/mount-now
becomes "mounted: the definition is enforced without a command" "open open" ports
save </opt/vm/base.yaml; becomes "and followed there" "open silent" ports
opened | save; becomes "with port 8080 again" "open open" ports
umount /etc/secgroupd; sleep 5
same "unmounted: the last policy stays" "open open" "$(ports)"
status_line
journalctl -b -u secgroupd -o cat
E

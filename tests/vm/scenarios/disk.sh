# A full disk and a read-only root: the policy follows the definition as far as can be, says what is not kept, and recovers
start ready
vm 600 <<'E'
systemctl stop secgroupd; cp -a /var/lib/secgroupd /root/state
mount -t tmpfs -o "size=96k,mode=700,uid=$(id -u secgroupd),gid=$(id -g secgroupd)" tmpfs /var/lib/secgroupd
cp -a /root/state/. /var/lib/secgroupd/; systemctl start secgroupd; enforced "on a small disk"
dd if=/dev/zero of=/var/lib/secgroupd/fill bs=1k 2>/dev/null
opened | save; becomes "the disk is full: a save is enforced" "open open" ports
sleep 2; secgroupd status | head -12; status_line
holds "systemctl status says so" "DEGRADED" "$(status_line)"
holds "secgroupd status says so" "Not kept" "$(secgroupd status)"
rm /var/lib/secgroupd/fill; save </opt/vm/base.yaml; becomes "there is room again: the next save is enforced" "open silent" ports
until [[ "$(status_line)" != DEGRADED* ]]; do sleep 0.2; done; echo "ok: and the status is good again"
systemctl stop secgroupd; umount /var/lib/secgroupd; systemctl start secgroupd; enforced "on its own disk again"
echo "# read-only root"
sync; mount -o remount,ro / ; same "the root is read-only" 0 $?
enforced "read-only root"
systemctl restart secgroupd; same "a restart succeeds" 0 $?
enforced "restarted on a read-only root"
status_line; secgroupd status | head -12
nft flush ruleset; becomes "nft flush ruleset" "open silent" ports
mount -o remount,rw /
opened | save; becomes "writable again: a save is enforced" "open open" ports
journalctl -b -u secgroupd -o cat | tail -30
E

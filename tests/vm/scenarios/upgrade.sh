# Upgrade from the program of commit 7870573: live flows go on and refused ports stay shut while it is restarted, and by a reboot the new program enforces what the old one kept
. "$here/reboot.lib.sh"
old="$work/secgroupd-7870573"
if [ ! -e "$old" ]; then
    git worktree add --detach "$work/old" 7870573 >/dev/null
    (cd "$work/old" && CARGO_TARGET_DIR="$work/old-target" cargo build --release) >"$work/old.log" 2>&1
    cp "$work/old-target/release/secgroupd" "$old"
    git worktree remove --force "$work/old"
fi
mkdir -p "$folder/old" "$folder/new"
for unit in secgroupd.service secgroupd-boot.service secgroupd.sysusers; do git show "7870573:systemd/$unit" >"$folder/old/$unit"; done
documented docs/operations.md Upgrade >"$folder/upgrade.sh"
new=("$program=/root/new/target/release/secgroupd" "$folder/upgrade.sh=/root/new/upgrade.sh")
for unit in systemd/*; do new+=("$unit=/root/new/$unit"); done
start booted
first_packets
vm 300 "$old=/usr/bin/secgroupd" "$folder/old/secgroupd.service=/etc/systemd/system/secgroupd.service" \
    "$folder/old/secgroupd-boot.service=/etc/systemd/system/secgroupd-boot.service" \
    "$folder/old/secgroupd.sysusers=/usr/lib/sysusers.d/secgroupd.conf" "${new[@]}" <<'E'
servers
systemd-sysusers; install -d -m 0755 /etc/secgroupd; install -m 0644 /opt/vm/base.yaml $definition
systemctl daemon-reload; systemctl enable --now secgroupd
becomes "the old program enforces" "open silent" ports
sync
E
keep_as old
vm 300 <<'E'
setsid ip netns exec client /opt/vm/flow live tcp 10.0.0.5 80 >/dev/null 2>&1 &
until [ -e /run/flow-live ]; do sleep 0.2; done
# Asks for 8080 without a pause, for as long as it takes.
setsid ip netns exec client /bin/sh -c 'until [ -e /run/enough ]; do if busybox nc -w 1 10.0.0.5 8080 </dev/null >/dev/null 2>&1; then echo open; else echo shut; fi; done >/run/asked' &
cd /root/new; cat upgrade.sh; bash -eux upgrade.sh; same "the documented lines succeed" 0 $?
enforced "upgraded"
sleep 3; touch /run/enough
same "8080 was shut at every try meanwhile" 0 "$(grep -c open /run/asked)"
holds "and it was tried" shut "$(cat /run/asked)"
living() { if [ $(($(date +%s) - $(stat -c %Y /run/flow-live))) -le 2 ]; then echo alive; fi; }
becomes "the live flow goes on" alive living
opened | save; becomes "a save is enforced" "open open" ports
secgroupd status | head -12
journalctl -b -u secgroupd -o cat
E
power_loss
start old
vm 100 <<'E'
# Without the restart: the machine is started again.
cd /root/new; sed '/restart/d' upgrade.sh | bash -eux
sync
E
restart
booted_enforced

# A machine without a clock of its own: boots in 1970, is set right later, set back, a year on: the policy and its saves hold all along
. "$here/reboot.lib.sh"
start ready
first_packets
vm <<<'sync; systemctl mask systemd-timesyncd 2>/dev/null; rm -f /var/lib/systemd/timesync/clock; sync'
power_loss
clock=1970-01-02T00:00:00 start
booted_enforced
vm <<'E'
date
opened | save; becomes "a save" "open open" ports
date -s "2026-01-01"; sleep 2; same "the clock is set right" "open open" "$(ports)"
save </opt/vm/base.yaml; becomes "a save" "open silent" ports
opened >/root/new.yaml; secgroupd apply --confirm 20 /root/new.yaml; same "on trial" "open open" "$(ports)"
date -s "2027-01-01"; sleep 1; same "a trial does not end with a jump of the clock" "open open" "$(ports)"
date -s "2025-01-01"
becomes "it ends by the time since the start" "open silent" ports
opened | save; becomes "a save a year back" "open open" ports
save </opt/vm/base.yaml; becomes "and another" "open silent" ports
secgroupd status | head -12
journalctl -b -u secgroupd -o cat
E

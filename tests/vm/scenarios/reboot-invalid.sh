# Reboot with an invalid definition, and with none: the last good policy is enforced from the first packet, and a good save recovers
. "$here/reboot.lib.sh"
start ready
first_packets
vm <<'E'
sed 's/version: 1/version: 7/' /opt/vm/base.yaml | save
sync
E
restart
booted_enforced
vm <<'E'
holds "systemctl status says what is wrong" "DEGRADED" "$(status_line)"
status_line
opened | save; becomes "the next good save is enforced" "open open" ports
save </opt/vm/base.yaml; becomes "and the one after it" "open silent" ports
mv /etc/secgroupd /root/away; sync
E
restart
booted_enforced
vm <<'E'
holds "no definition directory: the daemon runs, degraded" "DEGRADED" "$(status_line)"
status_line
nft flush ruleset; becomes "without a definition it guards the policy: nft flush ruleset" "open silent" ports
opened >/root/away/groups.yaml; rm -rf /etc/secgroupd; mv /root/away /etc/secgroupd
becomes "the definition comes: it is enforced" "open open" ports
journalctl -b -u secgroupd -o cat
E

# The reboot scenarios: a firewall beside it, a reboot, and who was there first.

# Hooks of net-up: which tables there are before eth0 comes up, and what the first packets to 80 and 8080 meet.
first_packets() {
    vm 60 <<'E'
cat >/root/before-link <<'H'
nft list tables >/root/tables-before-link
. /opt/vm/lib.sh
servers
H
cat >/root/after-link <<'H'
ports >/root/first-packets
H
sync
E
}

# What holds after a reboot, whatever firewall is beside it.
booted_enforced() {
    vm 200 <<'E'
same "our table is there before the network" "table inet secgroupd" "$(grep secgroupd /root/tables-before-link)"
same "the first packets to 80 and 8080 are judged" "open silent" "$(cat /root/first-packets)"
stamp() { systemctl show -p "$2" --value "$1"; }
boot=$(stamp secgroupd-boot ActiveEnterTimestampMonotonic) network=$(stamp testnet ExecMainStartTimestampMonotonic)
same "the boot unit has ended ($boot µs) before the network begins ($network µs)" yes "$([ "$boot" -gt 0 ] && [ "$boot" -lt "$network" ] && echo yes)"
same "the daemon runs" active "$(systemctl is-active secgroupd)"
same "systemd had no cycle to break" 0 "$(journalctl -b | grep -c 'ordering cycle')"
servers
becomes "the definition is enforced" "open silent" ports
same "outbound too" "open silent" "$(outside)"
journalctl -b --no-pager -o short-monotonic | grep -E 'secgroupd|network-pre|Reached target|network of the tests|nftables|ufw|firewall|docker|netfilter' | grep -v audit | cut -c1-200 | head -60
nft list tables
E
}

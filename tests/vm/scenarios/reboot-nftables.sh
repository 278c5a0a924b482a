# Reboot beside nftables.service, whose file begins with a flush
. "$here/reboot.lib.sh"
start ready
first_packets
vm 300 <<'E'
cat >/etc/nftables.conf <<C
#!/usr/sbin/nft -f
flush ruleset
table inet mine {
    chain input {
        type filter hook input priority filter
        tcp dport 5001 drop
    }
}
C
systemctl enable --now nftables
enforced "nftables.service is started"
systemctl restart nftables; becomes "nftables.service is restarted" "open silent" ports
holds "its ruleset is there" "table inet mine" "$(nft list tables)"
sync
E
restart
booted_enforced
vm <<'E'
holds "nftables' ruleset is there" "table inet mine" "$(nft list tables)"
nft flush ruleset; becomes "nft flush ruleset" "open silent" ports
systemctl stop nftables; becomes "nftables.service is stopped" "open silent" ports
E

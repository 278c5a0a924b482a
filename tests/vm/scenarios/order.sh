# Order against iptables, nft and legacy: neither opens what the other refuses, inbound, outbound and behind REDIRECT; flushes change nothing
start ready
vm 900 <<'E'
for t in iptables-nft iptables-legacy; do
    echo "# $t"
    enforced "$t: before"
    $t -A INPUT -p tcp --dport 8080 -j ACCEPT; same "$t accepts 8080: it stays shut" "open silent" "$(ports)"
    $t -A INPUT -p tcp --dport 80 -j DROP;     same "$t drops 80: it is shut" "silent silent" "$(ports)"
    holds "diagnose says so ($t)" "$([ $t = iptables-nft ] && echo INPUT || echo iptables)" "$(secgroupd diagnose 80 2>&1)"
    $t -F INPUT
    $t -A OUTPUT -p tcp --dport 25 -j ACCEPT;  same "$t accepts outbound 25: it stays blocked" "open silent" "$(outside)"
    $t -A OUTPUT -p tcp --dport 80 -j DROP;    same "$t drops outbound 80: it is shut" "silent silent" "$(outside)"
    $t -F OUTPUT
    $t -t nat -A PREROUTING -p tcp --dport 8080 -j REDIRECT --to-ports 80; same "$t redirects 8080 to 80: judged by 8080" "open silent" "$(ports)"
    $t -t nat -F PREROUTING
    $t -t nat -A PREROUTING -p tcp --dport 80 -j REDIRECT --to-ports 8080; same "$t redirects 80 to 8080: judged by 80" "open silent" "$(ports)"
    $t -t nat -F PREROUTING
    $t -t raw -A PREROUTING -p tcp --dport 80 -j DROP; same "$t drops 80 in raw" "silent silent" "$(ports)"
    $t -t raw -F; $t -t nat -F; $t -F
    enforced "$t flushed"
done
nft -f - <<'N'
table inet mine {
    chain input {
        type filter hook input priority filter
        tcp dport 80 drop
    }
}
N
same "a ruleset of one's own drops 80" "silent silent" "$(ports)"
nft delete table inet mine
nft flush ruleset; becomes "nft flush ruleset" "open silent" ports
nft delete table inet secgroupd; echo "nft delete table: $?"; becomes "nft delete table inet secgroupd" "open silent" ports
kill -9 "$(systemctl show -p MainPID --value secgroupd)"; enforced "the daemon is killed"
becomes "and started again" active systemctl is-active secgroupd
enforced "the daemon is started again"
systemctl stop secgroupd; enforced "the daemon is stopped"
systemctl start secgroupd; enforced "the daemon is started"
secgroupd status | head -20
journalctl -b -u secgroupd -o cat | tail -20
E

# Live flows obey a changed rule: TCP, UDP, ping and an outbound flow that are no longer allowed end, others go on
start ready
vm 600 <<'E'
flow() { name="$1"; shift; setsid "$@" >/dev/null 2>&1 & }
flow tcp client /opt/vm/flow tcp tcp 10.0.0.5 80
flow udp client /opt/vm/flow udp udp 10.0.0.5 9000
flow office client /opt/vm/flow office tcp 10.0.0.5 22 203.0.113.9
flow six client /opt/vm/flow six tcp fd00::5 80
flow out /opt/vm/flow out tcp 10.0.0.1 80
flow out2 /opt/vm/flow out2 tcp 10.0.0.1 9999
client ping -D -i 0.2 10.0.0.5 >/run/ping 2>&1 &
# alive NAME…: which had an echo within the last 2 s. A flow never connects again.
alive() {
    local name now=$(date +%s)
    for name in tcp udp office six out out2; do
        if [ $((now - $(stat -c %Y /run/flow-$name 2>/dev/null || echo 0))) -le 2 ]; then echo -n "$name "; fi
    done
    if [ $((now - $(stat -c %Y /run/ping 2>/dev/null || echo 0))) -le 2 ]; then echo ping; else echo; fi
}
becomes "all flows live" "tcp udp office six out out2 ping" alive
sed -e '/port: 9000/d' -e '/protocol: icmp,/d' -e 's/port: "80,443", source: any/port: "80,443", source: "::\/0"/' \
    -e 's/protocol: all,  destination: any/protocol: tcp, port: 9999, destination: any/' /opt/vm/base.yaml | save
becomes "those that are no longer allowed have ended" "office six out2 " alive
sleep 6
same "the others go on" "office six out2 " "$(alive)"
conntrack -L 2>/dev/null | head -20
save </opt/vm/base.yaml
becomes "allowed again: flows that nobody closed go on" "tcp udp office six out out2 ping" alive
secgroupd status
E

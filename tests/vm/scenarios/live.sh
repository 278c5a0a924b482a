# Live flows obey a changed rule: TCP, UDP, ping and an outbound flow that are no longer allowed end, others go on
start ready
vm 600 <<'E'
flow() { shift; "$@" >/dev/null 2>&1 & }
flow tcp client /opt/vm/flow tcp tcp 10.0.0.5 80
flow udp client /opt/vm/flow udp udp 10.0.0.5 9000
flow office client /opt/vm/flow office tcp 10.0.0.5 22 203.0.113.9
flow six client /opt/vm/flow six tcp fd00::5 80
flow out /opt/vm/flow out tcp 10.0.0.1 80
flow out2 /opt/vm/flow out2 tcp 10.0.0.1 9999
flow ping client /opt/vm/flow ping ping 10.0.0.5 0
# alive NAME…: which had an echo within the last 4 s. A flow never connects again.
alive() {
    local name now=$(date +%s)
    for name in tcp udp office six out out2 ping; do
        if [ $((now - $(stat -c %Y /run/flow-$name 2>/dev/null || echo 0))) -le 4 ]; then echo -n "$name "; fi
    done
}
becomes "all flows live" "tcp udp office six out out2 ping " alive
sed -e '/port: 9000/d' -e '/protocol: icmp,/d' -e 's/port: "80,443", source: any/port: "80,443", source: "::\/0"/' \
    -e 's/protocol: all,  destination: any/protocol: tcp, port: 9999, destination: any/' /opt/vm/base.yaml | save
becomes "those that are no longer allowed have ended" "office six out2 " alive
sleep 10
same "the others go on" "office six out2 " "$(alive)"
conntrack -L 2>/dev/null | head -20
save </opt/vm/base.yaml
becomes "allowed again: flows that nobody closed go on" "tcp udp office six out out2 ping " alive
secgroupd status
E

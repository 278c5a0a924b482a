# A DHCP client is served, boots and renews under a policy that allows nothing of it
start ready
vm <<'E'
sed -e 's/addresses: \[10.0.0.5, "fd00::5"\], //' -e 's/protocol: all,  destination: any/protocol: tcp, port: 80, destination: any/' -e '/port: 9000/d' -e '/icmp/d' /opt/vm/base.yaml | save
touch /root/no-address
cat >/root/after-link <<'H'
setsid ip netns exec client dnsmasq -k -C /dev/null -p 0 -i up0 --dhcp-range=10.0.0.5,10.0.0.5,120s --dhcp-option=3,10.0.0.1 --log-dhcp --log-facility=/run/dnsmasq.log >/dev/null 2>&1 &
systemd-run -q --unit=dhclient -p Restart=always dhclient -d -v eth0
H
sleep 3; secgroupd status | head -3; sync
E
restart
vm 600 <<'E'
address() { ip -4 -o addr show eth0 | grep -o '10\.0\.0\.[0-9]*/' ; }
becomes "the client gets its address" "10.0.0.5/" address
servers
becomes "the policy is enforced" "open silent" ports
acks() { if [ "$(grep -c DHCPACK /run/dnsmasq.log)" -ge 2 ]; then echo renewed; fi; }
becomes "the client renews its lease (unicast)" renewed acks
grep DHCP /run/dnsmasq.log
same "its address is still there" "10.0.0.5/" "$(address)"
secgroupd status | head -30
journalctl -b -u secgroupd -o cat
E

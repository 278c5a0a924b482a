# Docker: a published port is the published number inbound, containers leave by the outbound rules, a bound or refused docker0, restart docker, networks as compose makes them
start ready
vm 900 <<'E'
systemctl start docker
mkdir -p /tmp/i/bin; cp /bin/busybox /tmp/i/bin/; for name in sh nc cat; do ln -sf busybox /tmp/i/bin/$name; done
tar -C /tmp/i -c . | docker import - tiny >/dev/null
# The image of the machine has no tools of AppArmor.
start() { docker run -d --restart always --security-opt apparmor=unconfined "$@" tiny /bin/nc -ll -p 80 -e /bin/cat; }
start --name web -p 8090:80
start --name web2
docker network create app
start --name db --network app -p 8091:80
docker ps; ip -br addr
same "three containers run" 3 "$(docker ps -q | wc -l)"
[ "$(docker ps -q | wc -l)" = 3 ] || exit
# published: 8090 of docker0, 8091 of the network `app`, as the world outside meets them
published() { client /opt/vm/probe tcp:10.0.0.5:8090 tcp:10.0.0.5:8091; }
# from CONTAINER PROBE…: as a program in the container
from() { local pid="$(docker inspect -f '{{.State.Pid}}' "$1")"; shift; nsenter -t "$pid" -n /opt/vm/probe "$@"; }
ip2="$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' web2)"
leaves() { from web tcp:10.0.0.1:80 tcp:10.0.0.1:9999 tcp:198.51.100.7:25; }
# platform, groups of docker0, ports allowed inbound, outbound rule: a definition of these
define() {
    sed -e "s/\"80,443\"/\"443,$3\"/" -e "s/{ action: allow,  protocol: all,  destination: any }/{ action: allow, $4, destination: any }/" /opt/vm/base.yaml >/root/d.yaml
    if [ -n "$2" ]; then echo "      docker0: { security_groups: [$2] }" >>/root/d.yaml; fi
    if [ -n "$1" ]; then echo "platform: { unbound_interfaces: $1 }" >>/root/d.yaml; fi
    sed -i '/^address_templates/i\  sg-none: { inbound: [], outbound: [] }\n  sg-docker:\n    inbound: [{ action: allow, protocol: all, source: 172.17.0.0/16 }]\n    outbound: [{ action: allow, protocol: tcp, port: 80, destination: 172.17.0.0/16 }]\n  sg-8090:\n    inbound: [{ action: allow, protocol: all, source: 172.17.0.0/16 }]\n    outbound: [{ action: allow, protocol: tcp, port: 8090, destination: 172.17.0.0/16 }]' /root/d.yaml
    save </root/d.yaml; secgroupd reload
}
all="protocol: all"
echo "# published ports"
define "" "" 80 "$all";        same "no rule for the published ports (but for the containers' own, 80): shut" "silent silent" "$(published)"
define "" "" 8090 "$all";      same "a rule for 8090, the published number, and none for 80: open" "open silent" "$(published)"
define "" "" 8090,8091 "$all"; same "a network as compose makes them: the same" "open open" "$(published)"
echo "# containers leave by the outbound rules of eth0"
same "all allowed: 80 and 9999 outside are open, 25 is blocked" "open open silent" "$(leaves)"
define "" "" 8090,8091 "protocol: tcp, port: 9999"
same "only 9999 allowed" "silent open silent" "$(leaves)"
same "published ports are answered all the same" "open open" "$(published)"
same "between containers of a bridge: open" "open" "$(from web tcp:$ip2:80)"
same "from the host to a container: open" "open" "$(/opt/vm/probe tcp:$ip2:80)"
same "from a container to the host's own ports: open" "open" "$(from web tcp:172.17.0.1:8080)"
echo "# unbound_interfaces: refuse"
define refuse "" 8090,8091 "$all"; sleep 3
sysctl net.bridge.bridge-nf-call-iptables
same "unbound refused: the published port" "open" "$(client /opt/vm/probe tcp:10.0.0.5:8090)"
same "unbound refused: containers do not leave" "silent silent silent" "$(leaves)"
same "unbound refused: nor reach the host" "silent" "$(from web tcp:172.17.0.1:8080)"
same "unbound refused: nor each other on one bridge, as Docker has bridged frames filtered" silent "$(from web tcp:$ip2:80)"
same "unbound refused: from the host to a container" open "$(/opt/vm/probe tcp:$ip2:80)"
echo "# docker0 bound"
define "" "" 8090,8091 "$all"
define "" sg-docker 8090,8091 "$all"
same "docker0 allows outbound the container's port 80, inbound the containers: the published port is open" "open open" "$(published)"
same "and containers leave" "open open silent" "$(leaves)"
same "and reach each other" open "$(from web tcp:$ip2:80)"
same "and the host" open "$(from web tcp:172.17.0.1:8080)"
same "from the host to port 80 of a container" "open" "$(/opt/vm/probe tcp:$ip2:80)"
define "" sg-8090 8090,8091 "$all"
same "docker0 allows outbound 8090, the published number: shut" "silent open" "$(published)"
define "" sg-none 8090,8091 "$all"
same "docker0 allows nothing: the published port is shut" "silent open" "$(published)"
same "and containers do not leave" "silent silent silent" "$(leaves)"
same "nor reach each other" silent "$(from web tcp:$ip2:80)"
same "nor the host" silent "$(from web tcp:172.17.0.1:8080)"
same "nor does the host reach them" silent "$(/opt/vm/probe tcp:$ip2:80)"
define "" "" 8090,8091 "$all"
echo "# restart docker"
becomes "as before" "open open" published
systemctl restart docker
becomes "docker is restarted: the published ports are open" "open open" published
same "and 80 and 8080 are not allowed" "silent silent" "$(ports)"
same "containers leave by the outbound rules" "open open silent" "$(leaves)"
echo "# what is docker's stays docker's"
iptables -I DOCKER-USER -p tcp -j DROP
same "DOCKER-USER refuses: shut, whatever the group says" "silent silent" "$(published)"
iptables -D DOCKER-USER -p tcp -j DROP
secgroupd diagnose 8090
secgroupd status
journalctl -b -u secgroupd -o cat | tail -30
E

# Podman (netavark): a published port is the published number inbound, containers leave by the outbound rules
start ready
vm 600 <<'E'
mkdir -p /tmp/i/bin; cp /bin/busybox /tmp/i/bin/; for name in sh nc cat; do ln -sf busybox /tmp/i/bin/$name; done
tar -C /tmp/i -c . | podman import - tiny >/dev/null 2>&1
podman run -d --name web -p 8090:80 tiny /bin/nc -ll -p 80 -e /bin/cat; podman ps; ip -br addr
same "the container runs" 1 "$(podman ps -q | wc -l)"
published() { client /opt/vm/probe tcp:10.0.0.5:8090; }
leaves() { nsenter -t "$(podman inspect -f '{{.State.Pid}}' web)" -n /opt/vm/probe tcp:10.0.0.1:80 tcp:10.0.0.1:9999 tcp:198.51.100.7:25; }
same "no rule for 8090: shut, though 80 is allowed" silent "$(published)"
sed 's/"80,443"/"443,8090"/' /opt/vm/base.yaml | save
becomes "a rule for 8090, and none for 80: open" open published
same "containers leave, but for port 25" "open open silent" "$(leaves)"
sed -e 's/"80,443"/"443,8090"/' -e 's/protocol: all,  destination: any/protocol: tcp, port: 9999, destination: any/' /opt/vm/base.yaml | save
becomes "only 9999 allowed outbound" "silent open silent" leaves
same "the published port is answered all the same" open "$(published)"
podman restart -t 0 web; becomes "the container is restarted" open published
secgroupd status | head -30
E

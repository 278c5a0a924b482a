# Reboot beside docker, which forwards for containers
. "$here/reboot.lib.sh"
start ready
first_packets
vm 300 <<'E'
systemctl enable --now docker
becomes "docker is started" "open silent" ports
sync
E
restart
booted_enforced
vm <<'E'
same "docker is active" active "$(systemctl is-active docker)"
holds "its chains are there" "DOCKER" "$(iptables -S)"
E

# Reboot: the last policy is enforced before the network is up, and judges the first packet
. "$here/reboot.lib.sh"
start ready
first_packets
vm 300 <<'E'
:
sync
E
restart
booted_enforced

# Reboot beside firewalld, which opens both ports; its reload
. "$here/reboot.lib.sh"
start ready
first_packets
vm 300 <<'E'
systemctl enable --now firewalld
same "firewalld refuses 80" "silent silent" "$(ports | sed s/EHOSTUNREACH/silent/g)"
firewall-cmd --permanent --add-port=80/tcp; firewall-cmd --permanent --add-port=8080/tcp; firewall-cmd --reload
becomes "both are open in firewalld" "open silent" ports
firewall-cmd --complete-reload; becomes "firewalld is reloaded completely" "open silent" ports
sync
E
restart
booted_enforced
vm <<'E'
same "firewalld is active" running "$(firewall-cmd --state 2>&1)"
systemctl stop firewalld; becomes "firewalld is stopped" "open silent" ports
E

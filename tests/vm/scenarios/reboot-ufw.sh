# Reboot beside ufw, which allows both ports; ufw reload
. "$here/reboot.lib.sh"
start ready
first_packets
vm 300 <<'E'
ufw allow 80/tcp; ufw allow 8080/tcp; ufw --force enable; systemctl enable ufw
becomes "ufw is enabled" "open silent" ports
ufw reload; becomes "ufw is reloaded" "open silent" ports
ufw delete allow 80/tcp; same "ufw refuses 80" "silent silent" "$(ports)"
ufw allow 80/tcp
sync
E
restart
booted_enforced
vm <<'E'
holds "ufw is active" "Status: active" "$(ufw status)"
ufw disable; becomes "ufw is disabled" "open silent" ports
E

# The README's lines install the program on a machine without it: the definition is enforced at once, in both directions
start booted
files=("$program=/root/src/target/release/secgroupd" "$here/guest/base.yaml=/root/src/my-groups.yaml")
for unit in systemd/*; do files+=("$unit=/root/src/$unit"); done
documented README.md Install >"$folder/install.sh"
files+=("$folder/install.sh=/root/src/install.sh")
vm 300 "${files[@]}" <<'E'
servers
same "before it is installed all is open" "open open" "$(ports)"
cat /root/src/install.sh
cd /root/src && bash -eux install.sh
same "the lines of the README succeed" 0 $?
same "the service runs" active "$(systemctl is-active secgroupd)"
same "both units are enabled" "enabled enabled" "$(systemctl is-enabled secgroupd secgroupd-boot | xargs)"
enforced "installed"
same "from the office, ssh is open" "open" "$(client /opt/vm/probe from:203.0.113.9 tcp:10.0.0.5:22)"
same "from elsewhere, ssh is not" "silent" "$(client /opt/vm/probe from:198.51.100.7 tcp:10.0.0.5:22)"
same "IPv6 is judged too" "open silent" "$(client /opt/vm/probe tcp:fd00::5:80 tcp:fd00::5:8080)"
same "UDP is judged too" "open silent" "$(client /opt/vm/probe udp:10.0.0.5:9000 udp:10.0.0.5:9001)"
secgroupd status
systemctl status secgroupd
journalctl -b -u secgroupd -u secgroupd-boot -o cat
same "the daemon logs no warning" "" "$(journalctl -b -u secgroupd -p warning -o cat | head -3)"
E
# The servers go on: each scenario that starts from here has them.
keep_as ready

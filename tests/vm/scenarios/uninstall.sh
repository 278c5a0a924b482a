# Uninstall as documented: the host is open again, and no unit, table, file or process is left; remove alone keeps nothing for the boot
documented docs/operations.md Uninstall >"$folder/uninstall.sh"
start ready
vm 300 "$folder/uninstall.sh=/root/uninstall.sh" <<'E'
nft list ruleset >/dev/null
cat /root/uninstall.sh
bash -eux /root/uninstall.sh; same "the documented lines succeed" 0 $?
systemctl daemon-reload
same "all is open" "open open" "$(ports)"
same "outbound too" "open open" "$(outside)"
same "no table" "" "$(nft list tables | grep secgroupd)"
same "no process" "" "$(pgrep -x secgroupd)"
same "no file" "" "$(find / -xdev -path /root -prune -o -name '*secgroupd*' -print 2>/dev/null | grep -v -E '^/(proc|sys|run/systemd/units)')"
same "no unit" "" "$(systemctl list-units --all --no-legend --plain 'secgroupd*')"
sync
E
restart
vm <<'E'
servers
same "after a reboot all is open" "open open" "$(ports)"
E

# Power loss while definitions are saved, at random moments (SECGROUPD_VM_LOSSES times, 3): each boot enforces the old or the new policy from the first packet
. "$here/reboot.lib.sh"
start ready
first_packets
for loss in $(seq "${SECGROUPD_VM_LOSSES:-3}"); do
    vm <<'E'
opened >/root/open.yaml
cat >/root/saver <<'S'
#!/bin/bash
# Saves two definitions by turns, as an editor does, without a pause.
while true; do
    for source in /root/open.yaml /opt/vm/base.yaml; do cp $source /etc/secgroupd/groups.yaml.t; sync /etc/secgroupd/groups.yaml.t; mv /etc/secgroupd/groups.yaml.t /etc/secgroupd/groups.yaml; sleep 0.$((RANDOM % 9)); done
done
S
rm -f /root/first-packets /root/tables-before-link; sync
chmod +x /root/saver; setsid /root/saver >/dev/null 2>&1 &
E
    sleep "$((3 + RANDOM % 4)).$((RANDOM % 10))"
    power_loss
    start
    { echo "loss=$loss"; cat <<'E'
same "loss $loss: our table is there before the network" "table inet secgroupd" "$(grep secgroupd /root/tables-before-link)"
case "$(cat /root/first-packets)" in
"open silent" | "open open") echo "ok: loss $loss: the first packets are judged by the old or the new policy" ;;
*) echo "FAILED: loss $loss: first packets: $(cat /root/first-packets)" ;;
esac
holds "loss $loss: the kept policy is whole" "allow" "$(secgroupd explain --enforced inbound tcp 198.51.100.7 80 2>&1 | head -1)"
same "loss $loss: nothing kept is damaged" "" "$(journalctl -b -u secgroupd -u secgroupd-boot -o cat | grep -i damaged)"
same "loss $loss: the daemon runs" active "$(systemctl is-active secgroupd)"
servers
case "$(ports)" in
"open silent" | "open open") echo "ok: loss $loss: enforced: $(ports)" ;;
*) echo "FAILED: loss $loss: $(ports)" ;;
esac
save </opt/vm/base.yaml; becomes "loss $loss: the next save is enforced" "open silent" ports
ls -la /var/lib/secgroupd /etc/secgroupd
journalctl -b -u secgroupd -u secgroupd-boot -o cat
E
    } | vm
done

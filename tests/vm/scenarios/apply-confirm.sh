# apply --confirm of files in /root, /home and /tmp: tried, taken back unless confirmed, confirmed, and taken back by a reboot
start ready
vm 600 <<'E'
opened >/root/new.yaml; chmod 600 /root/new.yaml
cd /root
secgroupd apply --confirm 8 new.yaml; same "apply --confirm of a file of root's alone in /root" 0 $?
same "it is on trial" "open open" "$(ports)"
becomes "not confirmed: the policy of before comes back" "open silent" ports
secgroupd apply --confirm 60 new.yaml >/dev/null; same "what was not confirmed can be tried once more" 0 $?
secgroupd reload; same "a reload ends that trial" 0 $?
useradd -m adm; cd /home/adm; { opened; echo '# home'; } >c.yaml
secgroupd apply --confirm 60 c.yaml; same "of a file in /home" 0 $?
same "on trial" "open open" "$(ports)"
secgroupd confirm; same "confirm" 0 $?
same "it is the definition now" "# home" "$(tail -1 $definition)"
sleep 2; same "and stays" "open open" "$(ports)"
cp /opt/vm/base.yaml /tmp/d.yaml
secgroupd apply /tmp/d.yaml; same "apply of a file in /tmp" 0 $?
same "enforced" "open silent" "$(ports)"
save </opt/vm/base.yaml; sleep 3
{ opened; echo '# standard input'; } | secgroupd apply --confirm 300 - ; echo "apply --confirm of standard input: $?"
{ opened; echo '# for the reboot'; } >/root/r.yaml
secgroupd apply --confirm 3000 /root/r.yaml; same "a trial of 50 minutes" 0 $?
same "on trial again" "open open" "$(ports)"
sync
E
restart
vm <<'E'
servers
becomes "a reboot ends the trial: the policy of before" "open silent" ports
journalctl -b -u secgroupd -o cat
E

# A host that is named late, after a boot as localhost without a kept policy: its instance is enforced at once; a later name degrades
start ready
vm <<'E'
systemctl stop secgroupd; secgroupd remove
same "nothing is kept" no "$([ -e /var/lib/secgroupd/policy ] && echo yes || echo no)"
echo localhost >/etc/hostname
cat >/etc/systemd/system/late-name.service <<'U'
[Unit]
Description=Names the host late, as cloud-init and DHCP clients do
[Service]
ExecStart=/bin/sh -c 'until [ -e /run/name-now ]; do sleep 0.2; done; hostname vm1'
[Install]
WantedBy=multi-user.target
U
systemctl enable late-name
sync
E
# The daemon is not ready before a policy is enforced, so systemd is never done starting: wait for the network alone.
vm 30 <<<'systemctl --no-block reboot' || true
sleep 5
until vm 30 <<<'systemctl is-active testnet && [ "$(hostname)" = localhost ] && echo up' 2>/dev/null | grep -q '^up'; do running && sleep 1; done
vm <<'E'
servers
until pgrep -x secgroupd >/dev/null; do sleep 0.5; done
becomes "named localhost: no instance, nothing is refused" "open open" ports
journalctl -b -u secgroupd -o cat | tail -5
touch /run/name-now
becomes "named vm1: its instance is enforced, without a command" "open silent" ports
becomes "the service is ready" active systemctl is-active secgroupd
status_line
hostnamectl set-hostname other || hostname other
until [[ "$(status_line)" = DEGRADED* ]]; do sleep 0.2; done
enforced "renamed to one that is no instance: the policy stays"
status_line
systemctl reload secgroupd 2>&1; same "a reload fails then" 1 $?
hostnamectl set-hostname vm1 || hostname vm1
until [[ "$(status_line)" != DEGRADED* ]]; do sleep 0.2; done
enforced "named vm1 again"
systemctl reload secgroupd; same "a reload succeeds again" 0 $?
journalctl -b -u secgroupd -o cat
E

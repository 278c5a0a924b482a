# --fail-closed: a host whose first definition is refused boots shut: inbound refused from the first packet, outbound open, until it is mended
. "$here/reboot.lib.sh"
start ready
first_packets
vm <<'E'
systemctl stop secgroupd; secgroupd remove
for unit in secgroupd secgroupd-boot; do
    mkdir -p /etc/systemd/system/$unit.service.d; printf '[Service]\nEnvironment=SECGROUPD_FAIL_CLOSED=1\n' >/etc/systemd/system/$unit.service.d/closed.conf
done
sed 's/version: 1/version: 7/' /opt/vm/base.yaml | save
sync
E
# The daemon is not ready before a policy is enforced, so systemd is never done starting: wait for the network alone.
vm 30 <<<'systemctl --no-block reboot' || true
sleep 5
until vm 30 <<<'systemctl is-active testnet && [ -s /root/first-packets ] && echo up' 2>/dev/null | grep -q '^up'; do running && sleep 1; done
vm <<'E'
servers
same "our table is there before the network" "table inet secgroupd" "$(grep secgroupd /root/tables-before-link)"
same "the first packets are refused" "silent silent" "$(cat /root/first-packets)"
becomes "inbound is refused" "silent silent" ports
same "outbound is open" "open open" "$(outside)"
systemctl status secgroupd | head -12
nft flush ruleset; sleep 3; becomes "nft flush ruleset: it stays shut" "silent silent" ports
save </opt/vm/base.yaml
becomes "mended: the definition is enforced" "open silent" ports
same "outbound too" "open silent" "$(outside)"
becomes "the service is ready" active systemctl is-active secgroupd
journalctl -b -u secgroupd -u secgroupd-boot -o cat
E

#!/usr/bin/env bash
# Runs the daemon on config/example.yaml in a network namespace of its own: nobody's machine is touched, no
# root is needed, and Ctrl-C leaves nothing behind.
set -eu
cd "$(dirname "$0")/.."

missing=""
command -v ip >/dev/null || [ -x /usr/sbin/ip ] || missing="$missing iproute2"
if [ -n "$missing" ]; then
    echo "installing$missing"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    $sudo apt-get install -y -qq $missing >/dev/null
fi
cargo build --release

if ! unshare --user --map-root-user --net --mount true 2>/dev/null; then
    echo "this user may not make a namespace here: run it as root, or allow it (sysctl kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu)" >&2
    exit 1
fi
room="$PWD/target/try"
mkdir -p -m 0755 "$room"
export room
exec unshare --user --map-root-user --net --mount bash -eu -c '
    export PATH="$PATH:/usr/sbin:/sbin"
    ip link set lo up
    for interface in eth0 eth1; do
        ip link add "$interface" type veth peer name "wire-$interface"
        ip link set "$interface" up
        ip link set "wire-$interface" up
    done
    ip address add 10.0.0.5/24 dev eth0
    ip address add 2001:db8::5/64 dev eth0 nodad
    ip route add default via 10.0.0.1
    cat <<END

secgroupd enforces config/example.yaml in a network namespace of its own. In another terminal:

  target/release/secgroupd status --socket $room/control.sock
  target/release/secgroupd explain inbound tcp 203.0.113.9 443 --interface eth0 --definition config/example.yaml --instance ins-web1
  sudo nsenter --net --target $$ nft list table inet secgroupd        (with the package nftables)

Edit config/example.yaml and save it: the change is enforced at once, and a mistake changes nothing. Ctrl-C ends it,
and the namespace with it.

END
    exec target/release/secgroupd run --definition config/example.yaml --instance ins-web1 --state "$room/state" --socket "$room/control.sock"
'

#!/usr/bin/env bash
# Installs what the tests need and passes all of them. With CI=true a kernel test that cannot run is a failure.
set -eu
cd "$(dirname "$0")/.."

packages=""
for need in nft:nftables ip:iproute2 ping:iputils-ping iptables-legacy:iptables iptables-nft:iptables ufw:ufw conntrack:conntrack setpriv:util-linux nsenter:util-linux script:bsdutils strace:strace chromium:chromium python3:python3 systemd-analyze:systemd; do
    tool="${need%%:*}"
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || [ -x "/sbin/$tool" ] || packages="$packages ${need##*:}"
done
if [ -n "$packages" ]; then
    echo "installing$packages"
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $packages >/dev/null
fi
export PATH="$PATH:/usr/sbin:/sbin"

cargo test --no-fail-fast
# What reaches the kernel through the nft program instead; the shapes at their full size reach no kernel.
SECGROUPD_TEST_THROUGH=nft cargo test --no-fail-fast --test packets --test daemon --test differential -- --skip full_shapes
# Once more in a user namespace, as an ordinary user runs them.
if [ "$(id -u)" = 0 ]; then
    SECGROUPD_TEST_USERNS=1 cargo test --test differential --test packets --test seed --test host_view --test golden_kernel -- --skip full_shapes
fi

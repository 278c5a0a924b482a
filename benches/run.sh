#!/usr/bin/env bash
# Installs what the benchmarks need and runs them, or those named: packets costs load compile reload lab insight
# edits saves_under_flows. Keeps what each prints in benches/results, with the machine that it comes from, and writes its first
# table into docs/performance.md.
# SECGROUPD_BEFORE=PATH of packets: another commit's program, measured in the same run (benches/packets/before.rs).
# SECGROUPD_QUICK=1 takes a few minutes less and keeps nothing.
set -eu -o pipefail
cd "$(dirname "$0")/.."

packages=""
for need in nft:nftables ip:iproute2 iptables-legacy:iptables iptables-nft:iptables ipset:ipset ufw:ufw; do
    tool="${need%%:*}"
    command -v "$tool" >/dev/null || [ -x "/usr/sbin/$tool" ] || [ -x "/sbin/$tool" ] || packages="$packages ${need##*:}"
done
if [ -n "$packages" ]; then
    echo "installing$packages" >&2
    sudo=""
    [ "$(id -u)" = 0 ] || sudo=sudo
    $sudo apt-get update -qq
    # shellcheck disable=SC2086 # a list of packages
    DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq $packages >/dev/null
fi
export PATH="$PATH:/usr/sbin:/sbin"

machine() {
    processor="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)"
    memory="$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
    virtual="$(systemd-detect-virt --vm 2>/dev/null || true)"
    case "$virtual" in none | "") virtual="" ;; *) virtual=", a virtual machine ($virtual)" ;; esac
    echo "$(date -u +%Y-%m-%d), Linux $(uname -r), $(nft --version | awk '{ print $1, $2 }'), $(iptables-nft --version | awk '{ print $1, $2 }'),"
    echo "$(ipset --version | head -1 | cut -d, -f1), $(ufw version | head -1); $processor, $(nproc) cores, $memory$virtual."
}

# Writes the first table of a result between the marks of that name in docs/performance.md.
into_performance() {
    page=docs/performance.md
    awk '/^\|/ { print; seen = 1; next } seen { exit }' "benches/results/$1.md" >"$kept/table"
    awk -v name="$1" -v table="$kept/table" '
        $0 == "<!-- " name " -->" { print; print ""; while ((getline line < table) > 0) print line; skip = 1; next }
        $0 == "<!-- end -->" { if (skip) print ""; skip = 0 }
        !skip' "$page" >"$kept/page"
    cat "$kept/page" >"$page"
}

all="packets costs load compile reload lab insight edits saves_under_flows"
# shellcheck disable=SC2086 # a list of names
[ $# -gt 0 ] || set -- $all
for name in "$@"; do
    case " $all " in
        *" $name "*) ;;
        *) echo "no benchmark is called $name: $all" >&2 && exit 2 ;;
    esac
done
case " $* " in
    *" load "* | *" reload "* | *" lab "* | *" saves_under_flows "*)
        # What users run is measured: the release. The benchmarks' build puts a program of its own in its place.
        cargo build --quiet --release
        target="$(cargo metadata --format-version 1 --no-deps --offline | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')"
        export SECGROUPD_RELEASE="$target/measured/secgroupd"
        install -D "$target/release/secgroupd" "$SECGROUPD_RELEASE"
        ;;
esac

kept="$(mktemp -d)"
trap 'rm -rf "$kept"' EXIT
for name in "$@"; do
    if [ -n "${SECGROUPD_QUICK:-}" ]; then
        cargo bench --quiet --bench "$name"
        continue
    fi
    { machine && echo && cargo bench --quiet --bench "$name"; } | tee "$kept/$name"
    { echo "# $name" && echo && echo "\`bash benches/run.sh $name\`" && echo && cat "$kept/$name"; } >"benches/results/$name.md"
    into_performance "$name"
done

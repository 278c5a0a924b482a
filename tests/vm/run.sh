#!/usr/bin/env bash
# Runs the scenarios on real machines: Debian 12 (bookworm) and 13 (trixie) under qemu, with systemd, without a network of their own.
#
#   bash tests/vm/run.sh [--system bookworm|trixie]… [--scenario NAME]… [--again]
#
# Builds the program and the images where they are missing. What has passed with the same program and scenario is not run again, so
# that a run that was ended goes on; --again runs it. Keeps the results in tests/results/vm.md. As root, for the images. Installs what
# it needs: qemu, debootstrap. Emulates the processor: times are no figures of performance. A machine is ended with its scenario.
#
#   SECGROUPD_VM            the working folder, 15 GB (target/vm)
#   SECGROUPD_VM_PROGRAM    another program than target/release/secgroupd
#   SECGROUPD_VM_CPUS       processors of a machine (2)
#   SECGROUPD_VM_LOSSES     how often the scenario power-loss cuts the power (3)
set -u -o pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cd "$here/../.."
work="${SECGROUPD_VM:-${CARGO_TARGET_DIR:-target}/vm}"
mkdir -p "$work"
work="$(cd "$work" && pwd)"
systems=() scenarios=() again=""
while [ $# -gt 0 ]; do
    case "$1" in
    --system) systems+=("$2") && shift 2 ;;
    --scenario) scenarios+=("$2") && shift 2 ;;
    --again) again=1 && shift ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0" && exit 2 ;;
    esac
done
[ ${#systems[@]} -gt 0 ] || systems=(bookworm trixie)
if [ ${#scenarios[@]} -eq 0 ]; then for file in "$here"/scenarios/*.sh; do scenarios+=("$(basename "$file" .sh)"); done; fi
for name in "${scenarios[@]}"; do
    [ -e "$here/scenarios/$name.sh" ] || { echo "no scenario is called $name" >&2 && exit 2; }
done
# Others on this machine go first.
echo 15 >/proc/self/autogroup 2>/dev/null

for needed in qemu-system-x86_64:qemu-system-x86 qemu-img:qemu-utils debootstrap:debootstrap mkfs.ext4:e2fsprogs; do
    command -v "${needed%%:*}" >/dev/null || apt-get install -q -y --no-install-recommends "${needed##*:}" || exit 1
done
program="${SECGROUPD_VM_PROGRAM:-}"
if [ -z "$program" ]; then
    cargo build --release || exit 1
    program="${CARGO_TARGET_DIR:-target}/release/secgroupd"
fi
program="$(realpath "$program")"
version="$(cat "$program" systemd/* | sha256sum | cut -c1-16)"

. "$here/results.sh"

# The machine as it was kept before and after the installation. `ready` belongs to a program.
prepare() {
    [ -e "$work/$system.img" ] || bash "$here/image.sh" "$system" "$work" >"$work/$system.build.log" 2>&1 ||
        { echo "the image of $system cannot be built: see $work/$system.build.log" >&2 && return 1; }
    mkdir -p "$folder" "$work/results"
    if [ ! -e "$folder/booted" ]; then
        rm -f "$folder/disk.qcow2" "$folder/ready"
        qemu-img create -q -f qcow2 -b "$work/$system.img" -F raw "$folder/disk.qcow2" || return 1
        start && keep_as booted && echo yes >"$folder/booted"
        power_loss
    fi
    [ "$(cat "$folder/ready" 2>/dev/null)" = "$version" ] || [ "$1" = install ] || run install
}

# Runs a scenario of the machine and keeps its result.
run() {
    local name="$1" from=$SECONDS log="$work/results/$system.$1.log"
    echo "$system: $name …"
    (
        set -e
        . "$here/scenarios/$name.sh"
        echo "finished"
    ) >"$log" 2>&1 &
    wait $!
    power_loss
    grep -aq '^finished$' "$log" || echo "FAILED: the scenario has ended before its end: $(grep -a . "$log" | tail -1)" >>"$log"
    grep -aq '^ok: ' "$log" || echo "FAILED: nothing was checked" >>"$log"
    keep_result "$name" "$log" $((SECONDS - from))
    grep -a '^FAILED' "$log" | sed 's/^/    /'
    if [ "$name" = install ]; then
        if grep -aq '^FAILED' "$log"; then return 1; fi
        echo "$version" >"$folder/ready"
    fi
}

failed=0
for system in "${systems[@]}"; do
    . "$here/lib.sh"
    trap 'power_loss; exit 130' INT TERM
    trap power_loss EXIT
    for name in "${scenarios[@]}"; do
        if [ -z "$again" ] && has_passed "$name"; then continue; fi
        prepare "$name" || { failed=1 && break; }
        # The installation may just have been run on the way.
        if [ "$name" != install ] || [ -n "$again" ] || ! has_passed install; then run "$name" || true; fi
        has_passed "$name" || failed=1
        write_table
    done
done
write_table
exit $failed

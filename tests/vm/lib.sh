# What a scenario does with its machine from outside. `run.sh` sets system, work, here and program, and reads the lines `ok: …` and
# `FAILED: …` that a scenario prints.
folder="$work/$system"

# Starts the machine: as it was kept under a name (`start booted`: without the program; `start ready`: installed, enforced, with
# servers on both sides), or from its disk.
start() {
    if [ -n "${1:-}" ]; then set -- -loadvm "$1"; fi
    setsid bash -c 'echo 15 >/proc/self/autogroup 2>/dev/null; exec "$@"' qemu qemu-system-x86_64 -name "secgroupd-$system" \
        -accel tcg,thread=multi -cpu max,-la57 -smp "${SECGROUPD_VM_CPUS:-2}" -m 1536 -nic none -display none -no-user-config -rtc "base=${clock:-utc}" \
        -kernel "$work/$system.kernel" -initrd "$work/$system.initrd" -append "root=/dev/vda ro console=ttyS0 net.ifnames=0 mitigations=off quiet audit=0" \
        -drive "file=$folder/disk.qcow2,if=virtio,cache=writeback" -serial "file:$folder/console" -device virtio-rng-pci \
        -device virtio-serial-pci -chardev "socket,id=agent,path=$folder/agent,server=on,wait=off" \
        -device virtserialport,chardev=agent,name=agent -monitor "unix:$folder/monitor,server=on,wait=off" "$@" \
        </dev/null >"$folder/qemu.log" 2>&1 &
    echo $! >"$folder/pid"
    disown
    if [ $# -eq 0 ]; then wait_until_up; else wait_for_agent; fi
}

# Power loss: what the machine has not told its disk to keep is gone.
power_loss() {
    if [ -e "$folder/pid" ]; then
        kill -9 "$(cat "$folder/pid")" 2>/dev/null || true
        while kill -0 "$(cat "$folder/pid")" 2>/dev/null; do sleep 0.1; done
        rm -f "$folder/pid" "$folder/agent" "$folder/monitor"
    fi
}

running() { kill -0 "$(cat "$folder/pid")" 2>/dev/null; }

keep_as() { python3 "$here/machine.py" "$folder" monitor "savevm $1"; }

# Runs the script of standard input in the machine, as root, with the functions of guest/lib.sh: vm [SECONDS] [FILE=PATH…]. Fails where
# the machine does not answer in time; the script's own checks are its lines.
vm() {
    local seconds="${1:-300}" status=0
    shift || true
    { echo '. /opt/vm/lib.sh'; cat; } | python3 "$here/machine.py" "$folder" run "$seconds" "$here/guest/lib.sh=/opt/vm/lib.sh" \
        "$here/guest/probe=/opt/vm/probe" "$here/guest/serve=/opt/vm/serve" "$here/guest/flow=/opt/vm/flow" \
        "$here/guest/base.yaml=/opt/vm/base.yaml" "$@" || status=$?
    [ $status -lt 124 ] || { echo "the machine has not answered within $seconds s ($status)"; return 1; }
}

wait_for_agent() {
    until vm 10 <<<true >/dev/null 2>&1; do
        running || { echo "FAILED: qemu has ended: $(tail -1 "$folder/qemu.log")"; return 1; }
        sleep 0.5
    done
}

# Until systemd has nothing more to start. What failed to start is shown.
wait_until_up() {
    wait_for_agent
    local state=""
    until [[ "$state" =~ ^(running|degraded) ]]; do
        running || return 1
        state="$(vm 60 <<<'systemctl is-system-running --wait' 2>/dev/null)" || true
    done
    if [ "$state" != running ]; then vm 60 <<<'systemctl --failed --no-legend --plain | sed "s/^/has failed: /"' || true; fi
}

restart() {
    local before after=""
    before="$(vm 30 <<<'cat /proc/sys/kernel/random/boot_id')"
    vm 30 <<<'systemctl --no-block reboot' || true
    until [ -n "$after" ] && [ "$after" != "$before" ]; do
        running || { echo "FAILED: the machine has ended instead of starting again"; return 1; }
        sleep 1
        after="$(vm 15 <<<'cat /proc/sys/kernel/random/boot_id' 2>/dev/null)" || after=""
    done
    wait_until_up
}

# The commands of the first `sh` block of a page's section, but for the building: documented PAGE SECTION.
documented() {
    awk -v section="## $2" '$0 == section { inside = 1 } inside && /^```$/ { exit } block && !/^cargo / { print } inside && /^```sh$/ { block = 1 }' "$1"
}

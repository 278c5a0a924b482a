#!/usr/bin/env bash
# Runs the fuzzers: an hour of a processor each, and ten million definitions; `run.sh SECONDS` so many seconds of a processor each,
# `run.sh SECONDS TARGET` one of them: definition or ruleset. They run side by side. What counts is processor time, since others may use
# the machine too.
# Installs cargo-fuzz, and needs the nightly toolchain. What they find is kept in fuzz/artifacts: put it into fuzz/cases, where the
# ordinary tests judge it again, and mend what it shows.
set -eu -o pipefail
cd "$(dirname "$0")"
seconds="${1:-3600}"
case "$seconds" in *[!0-9]* | "") echo "no number of seconds: $seconds; run.sh [SECONDS [definition | ruleset]]" >&2 && exit 2 ;; esac
runs=10000000
[ $# -eq 0 ] || runs=0
targets="${2:-definition ruleset}"
for name in $targets; do
    case "$name" in definition | ruleset) ;; *) echo "no target is called $name: definition or ruleset" >&2 && exit 2 ;; esac
done
command -v cargo-fuzz >/dev/null || cargo install --quiet cargo-fuzz
bash seeds.sh
# Safe code throughout: the sanitizers would look for what cannot be, at a third of the speed.
for name in $targets; do
    cargo +nightly fuzz build -s none "$name"
    mkdir -p "artifacts/$name"
done
target="$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$(rustc -vV | sed -n 's/^host: //p')/release"

# Runs one target once with these limits, and adds how many runs that were, and how many milliseconds of a processor they took.
fuzz() {
    log="artifacts/$name.log"
    used="artifacts/$name.time"
    TIMEFORMAT='%U %S'
    { time "$target/$name" "corpus/$name" -artifact_prefix="artifacts/$name/" -rss_limit_mb=2048 -print_final_stats=1 "$@" >"$log" 2>&1; } 2>"$used" || {
        tail -40 "$log" >&2
        echo "a find: see fuzz/artifacts/$name" >&2
        exit 1
    }
    done_runs=$((done_runs + $(sed -n 's/^stat::number_of_executed_units: *//p' "$log")))
    used_ms=$((used_ms + $(awk '{ printf "%d", ($1 + $2) * 1000 }' "$used")))
}

# The fuzzer itself counts the time of a clock: it runs in slices until it has used what was asked for.
fuzz_for() {
    limit_ms=$(($1 * 1000)) && shift
    while [ "$used_ms" -lt "$limit_ms" ]; do
        slice=$(((limit_ms - used_ms + 999) / 1000))
        fuzz -max_total_time="$((slice < 300 ? slice : 300))" "$@"
    done
}

fuzz_target() {
    case "$name" in
    definition)
        fuzz_for "$seconds" -dict=definition.dict -max_len=1500 -timeout=20
        if [ "$done_runs" -lt "$runs" ]; then
            fuzz -dict=definition.dict -max_len=600 -timeout=20 -runs=$((runs - done_runs))
        fi
        echo "| definition | $done_runs | $((used_ms / 1000)) s of a processor | no find |"
        ;;
    ruleset)
        fuzz_for "$seconds" -max_len=1200 -len_control=0 -timeout=60
        echo "| policy to kernel | $done_runs, one in 8 down to the kernel | $((used_ms / 1000)) s of a processor | no find |"
        ;;
    esac
}

# Each of them has a process group of its own, which ends with this script.
set -m
running=()
trap 'for job in "${running[@]}"; do kill -- "-$job" 2>/dev/null || true; done; exit 130' INT TERM
for name in $targets; do
    # Said in one line each when it is done.
    (
        done_runs=0 used_ms=0
        fuzz_target
    ) &
    running+=($!)
done
failed=0
for job in "${running[@]}"; do
    wait "$job" || failed=1
done
exit $failed

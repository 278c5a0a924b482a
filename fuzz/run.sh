#!/usr/bin/env bash
# Runs the fuzzers: an hour of a processor each, and ten million definitions; with an argument, so many seconds each. Installs
# cargo-fuzz, and needs the nightly toolchain. What they find is kept in fuzz/artifacts: put it into fuzz/cases, where the ordinary
# tests judge it again, and mend what it shows.
set -eu -o pipefail
cd "$(dirname "$0")"
seconds="${1:-3600}"
runs=10000000
[ $# -eq 0 ] || runs=0
command -v cargo-fuzz >/dev/null || cargo install --quiet cargo-fuzz
bash seeds.sh
# Safe code throughout: the sanitizers would look for what cannot be, at a third of the speed.
cargo +nightly fuzz build -s none
target="$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')/$(rustc -vV | sed -n 's/^host: //p')/release"
mkdir -p artifacts/definition artifacts/ruleset

# Runs one target with these limits, and prints how many runs that were.
fuzz() {
    name="$1" && shift
    log="artifacts/$name.log"
    "$target/$name" "corpus/$name" -artifact_prefix="artifacts/$name/" -rss_limit_mb=2048 -print_final_stats=1 "$@" >"$log" 2>&1 || {
        tail -40 "$log" >&2
        echo "a find: see fuzz/artifacts/$name" >&2
        exit 1
    }
    sed -n 's/^stat::number_of_executed_units: *//p' "$log"
}

begin="$(date +%s)"
done_runs="$(fuzz definition -dict=definition.dict -max_len=1500 -timeout=20 -max_total_time="$seconds")"
if [ "$done_runs" -lt "$runs" ]; then
    more="$(fuzz definition -dict=definition.dict -max_len=600 -timeout=20 -runs=$((runs - done_runs)))"
    done_runs=$((done_runs + more))
fi
middle="$(date +%s)"
echo "| definition | $done_runs | $((middle - begin)) s | no find |"
ruleset_runs="$(fuzz ruleset -max_len=1200 -len_control=0 -timeout=60 -max_total_time="$seconds")"
echo "| policy to kernel | $ruleset_runs, one in 8 down to the kernel | $(($(date +%s) - middle)) s | no find |"

#!/usr/bin/env bash
# All figures of "never open, never cut" in full, or those named: flows restored killed faults soak hostile flood hits
# refusals times insight deny fuzz vm. Keeps what each prints in tests/results, with the machine that it comes from. As root: about
# five hours, of which the fuzzers take one to three, the flood one, and the soak half of one; without these about one hour.
# `deny` asks whether the licences, versions and sources of all dependencies are those that deny.toml allows. It installs
# cargo-deny where that is missing, which takes minutes. `vm` runs the scenarios on real machines (tests/vm/run.sh), which takes hours;
# it is not among all.
set -eu -o pipefail
cd "$(dirname "$0")/.."
export PATH="$PATH:/usr/sbin:/sbin" SECGROUPD_FULL=1 CI=true RUST_BACKTRACE=0

machine() {
    processor="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)"
    memory="$(awk '/^MemTotal/ { printf "%.0f GB", $2 / 1e6 }' /proc/meminfo)"
    virtual="$(systemd-detect-virt --vm 2>/dev/null || true)"
    case "$virtual" in none | "") virtual="" ;; *) virtual=", a virtual machine ($virtual)" ;; esac
    echo "$(date -u +%Y-%m-%d), Linux $(uname -r), $(nft --version | awk '{ print $1, $2 }'); $processor, $(nproc) cores, $memory$virtual."
}

# The scenarios of a test binary whose names hold one of the words, and what they print.
scenarios() {
    binary="$1" && shift
    # Why it does not build is said here.
    cargo test --quiet --no-run --test "$binary" >&2 || true
    for word in "$@"; do
        # A figure that is missed is kept too, as FAILED; and so is one that nobody has taken.
        said="$(cargo test --quiet --test "$binary" -- --nocapture --test-threads 1 "$word" 2>/dev/null || true)"
        grep -q "^running [1-9]" <<<"$said" || echo "FAILED: no scenario of $binary was run for $word"
        echo "$said"
    done | sed -n -e 's/^test .*[^ ] *\.\.\. //' -e 's/^ *//' -e '/^ok$/d' -e '/^running/d' -e '/^test result/d' -e '/^$/d' -e 's/^/- /p'
}

# Judges the dependencies by deny.toml. Leaves out the advisories, whose database is fetched from the network.
dependencies() {
    if ! command -v cargo-deny >/dev/null && ! cargo install --quiet cargo-deny --locked >&2; then
        echo "- FAILED: cargo-deny cannot be installed"
        return
    fi
    if judged="$(cargo deny --color never check licenses bans sources 2>&1)"; then
        echo "- $(tail -1 <<<"$judged")"
    else
        echo "$judged" >&2
        echo "- FAILED: $(tail -1 <<<"$judged")"
    fi
}

figures() {
    case "$1" in
    flows) scenarios daemon flows_are_counted flows_survive_many ;;
    restored) scenarios daemon flushed_every flushed_and_killed a_fight_backs_off ;;
    killed) scenarios daemon killed_while killed_before killed_after killed_anywhere_in_a_trial a_writer_killed_anywhere ;;
    faults) scenarios daemon a_message_ an_answer_ a_thousand_saves the_disk_is_full an_upgrade_from_other_chains ;;
    soak) scenarios soak reloads ;;
    hostile) scenarios hostile cost_the_most very_many_files ;;
    flood) scenarios reload_flood lose_and_leak_nothing ;;
    hits) scenarios daemon hits_equal ;;
    refusals) scenarios daemon a_flood_of_refusals what_it_costs ;;
    times)
        scenarios host_view "ten thousand"
        scenarios seed "ten thousand"
        scenarios daemon is_restored
        scenarios lab an_edit_touches_the_touched an_edit_does_not_wait the_first_command fifty_instances
        scenarios insight a_thousand_rules
        ;;
    insight) cargo test --quiet --test insight -- --nocapture agree 2>/dev/null | sed -n 's/^\([0-9]* .*policies.*\)/- \1/p' ;;
    deny) dependencies ;;
    fuzz) printf '| target | runs | time | |\n|---|---|---|---|\n' && bash fuzz/run.sh ;;
    *) echo "no figures are called $1" >&2 && exit 2 ;;
    esac
}

mkdir -p tests/results
kept="$(mktemp)"
trap 'rm -f "$kept"' EXIT
[ $# -gt 0 ] || set -- flows restored killed faults soak hostile flood hits refusals times insight deny fuzz
missed=0
for name in "$@"; do
    # Writes its own table, and goes on where it was ended.
    if [ "$name" = vm ]; then
        bash tests/vm/run.sh || missed=1
        continue
    fi
    { echo "# $name" && echo && echo "\`bash tests/full.sh $name\`" && echo && machine && echo && figures "$name"; } | tee "$kept"
    grep -q "^[-|] " "$kept" || echo "- FAILED: no figure was printed" | tee -a "$kept"
    cp "$kept" "tests/results/$name.md"
    if grep -q "^- FAILED" "$kept"; then missed=1; fi
done
exit $missed

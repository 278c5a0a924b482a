# The results of scenarios: kept one by one in the working folder, written as a table to tests/results/vm.md.

# What a result belongs to: the program with its units, and what the scenario does.
stamp() { sha256sum <"$here/scenarios/$1.sh" | cut -c1-16; }

# keep_result NAME LOG SECONDS
keep_result() {
    local failed ok
    failed="$(grep -ac '^FAILED' "$2")" ok="$(grep -ac '^ok: ' "$2")"
    printf '%s\n' "$version $(stamp "$1")" "$failed" "$ok" "$3" "$(date -u +%Y-%m-%d)" \
        "$(grep -a '^FAILED' "$2" | head -1 | cut -c9-200 | tr '|' '/')" >"$work/results/$system.$1"
}

has_passed() {
    local kept="$work/results/$system.$1"
    [ -e "$kept" ] && [ "$(sed -n 1p "$kept")" = "$version $(stamp "$1")" ] && [ "$(sed -n 2p "$kept")" = 0 ]
}

# cell SYSTEM NAME
cell() {
    local kept="$work/results/$1.$2"
    if [ ! -e "$kept" ]; then
        echo "not run"
    elif [ "$(sed -n 2p "$kept")" = 0 ]; then
        echo "$(sed -n 3p "$kept") ok"
    else
        echo "FAILED: $(sed -n 6p "$kept") ($(sed -n 3p "$kept") ok)"
    fi
}

seconds() { sed -n 4p "$work/results/$1.$2" 2>/dev/null; }

write_table() {
    local processor total=0 file name
    processor="$(sed -n 's/^model name[^:]*: *//p' /proc/cpuinfo | head -1)"
    {
        echo "# vm"
        echo
        echo "\`bash tests/vm/run.sh\`"
        echo
        echo "$(date -u +%Y-%m-%d); qemu $(qemu-system-x86_64 --version | sed -n '1s/.*version \([0-9.]*\).*/\1/p') (emulation), on ${processor:-an unnamed processor}, $(nproc) cores. A cell has the number of checks that held. Durations are of an emulated and shared processor, and no figures."
        echo
        echo "| scenario | what it shows | Debian 12 | Debian 13 | seconds |"
        echo "|---|---|---|---|---|"
        for file in "$here"/scenarios/*.sh; do
            name="$(basename "$file" .sh)"
            echo "| $name | $(sed -n '1{s/^# *//;s/|/\\|/g;p}' "$file") | $(cell bookworm "$name") | $(cell trixie "$name") | $(seconds bookworm "$name") / $(seconds trixie "$name") |"
        done
    } >tests/results/vm.md.new
    mv tests/results/vm.md.new tests/results/vm.md
}

#!/usr/bin/env bash
# Installs what the tests need and passes all of them, in three passes. All passes run, also after one that has failed, and
# a summary closes. With CI=true a kernel test that cannot run is a failure.
set -eu -o pipefail
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

logs="$(mktemp -d)"
trap 'rm -rf "$logs"' EXIT
summary="" status=0

# Runs one pass: its name, then the arguments of `cargo test`. The exit status of cargo decides; the numbers are those of
# its lines `test result`.
pass() {
    name="$1" log="$logs/log" start=$SECONDS ended=passed
    shift
    echo "== $name"
    cargo test --no-fail-fast "$@" 2>&1 | tee "$log" || { ended=FAILED && status=1; }
    numbers="$(awk '/^test result:/ {
        for (field = 2; field <= NF; field++) {
            if ($field == "passed;") passed += $(field - 1)
            if ($field == "failed;") failed += $(field - 1)
            if ($field == "ignored;") skipped += $(field - 1)
        }
    } END { printf "%d passed, %d failed, %d skipped", passed, failed, skipped }' "$log")"
    summary+="$(printf '%-20s %s: %s; %d s' "$name" "$ended" "$numbers" $((SECONDS - start)))"$'\n'
    # The tests that failed, then the binaries: one that was killed names no test.
    summary+="$(sed -n -e 's/^test \(.*[^ ]\) *\.\.\. FAILED$/    \1/p' -e 's/^    `\(.*\)`$/    in \1/p' "$log")"
    summary="${summary%$'\n'}"$'\n'
}

pass "through netlink"
# What reaches the kernel through the nft program instead; the shapes at their full size reach no kernel.
# What names its way itself does the same in each pass.
SECGROUPD_TEST_THROUGH=nft pass "through nft" --test packets --test daemon --test differential -- \
    --skip full_shapes --skip through_nft --skip natively
# Once more in a user namespace, as an ordinary user runs them.
if [ "$(id -u)" = 0 ]; then
    SECGROUPD_TEST_USERNS=1 pass "in a user namespace" \
        --test differential --test packets --test seed --test host_view --test golden_kernel -- --skip full_shapes
fi

printf '\n== summary\n%s' "$summary"
exit $status

# What a scenario does inside of its machine. Each check prints a line `ok: …` or `FAILED: …`, which run.sh counts.
definition=/etc/secgroupd/groups.yaml

# Runs a command in the world outside.
client() { ip netns exec client "$@"; }

# same WHAT WANTED FOUND
same() { if [ "$2" = "$3" ]; then echo "ok: $1"; else echo "FAILED: $1: wanted \`$2\`, found \`$3\`"; fi; }

# holds WHAT WANTED-PART FOUND
holds() { case "$3" in *"$2"*) echo "ok: $1" ;; *) echo "FAILED: $1: wanted \`$2\` in \`$3\`" ;; esac; }

# becomes WHAT WANTED COMMAND…: how long it takes is no matter here; an emulated machine is slow.
becomes() {
    local what="$1" wanted="$2" found="" end=$((SECONDS + 90))
    shift 2
    while [ $SECONDS -lt $end ]; do
        found="$("$@" 2>&1)"
        if [ "$found" = "$wanted" ]; then echo "ok: $what"; return; fi
        sleep 0.2
    done
    echo "FAILED: $what: wanted \`$wanted\`, found \`$found\`"
}

# Servers of this host and of the world outside, each once.
servers() {
    pgrep -f "/opt/vm/serve host" >/dev/null || setsid /opt/vm/serve host tcp:80 tcp:22 tcp:443 tcp:445 tcp:8080 udp:9000 udp:9001 >/dev/null 2>&1 &
    pgrep -f "/opt/vm/serve out" >/dev/null || setsid ip netns exec client /opt/vm/serve out tcp:25 tcp:80 tcp:9999 udp:53 >/dev/null 2>&1 &
    until ss -Hltn sport = :8080 | grep -q . && client ss -Hltn sport = :9999 | grep -q .; do sleep 0.2; done
}

# What the world outside finds: of port 80, which base.yaml allows, and of 8080, which it does not.
ports() { client /opt/vm/probe tcp:10.0.0.5:80 tcp:10.0.0.5:8080; }

# What the host finds outside: port 80, and port 25 of the internet, which the cloud blocks.
outside() { /opt/vm/probe tcp:198.51.100.7:80 tcp:198.51.100.7:25; }

# enforced WHAT: base.yaml's rules hold now, in both directions.
enforced() { same "$1: 80 is open, 8080 is not" "open silent" "$(ports)"; same "$1: outbound 80 is open, 25 is blocked" "open silent" "$(outside)"; }

# The definition with port 8080 opened besides.
opened() { sed 's/"80,443"/"80,443,8080"/' /opt/vm/base.yaml; }

# save: standard input becomes the definition, by rename.
save() { cat >"$definition.t" && mv "$definition.t" "$definition"; }

# What systemd shows of the daemon: its line of status.
status_line() { systemctl show -p StatusText --value secgroupd; }

# All rulesets but ours, without counters.
others() {
    nft list ruleset 2>/dev/null | awk '/^table inet secgroupd/{ours=1} ours&&/^}/{ours=0;next} !ours' |
        grep -v '^# Warning' | sed -E 's/packets [0-9]+ bytes [0-9]+/packets N bytes N/'
}

#!/usr/bin/env bash
# Fills fuzz/corpus with what the targets begin from: the definitions that the tests have, and the finds so far.
set -eu
cd "$(dirname "$0")"
mkdir -p corpus/definition corpus/ruleset
for definition in ../tests/golden/*/definition.yaml ../tests/reject/*/definition.yaml ../tests/warn/*/definition.yaml ../config/example.yaml; do
    name="$(basename "$(dirname "$definition")")"
    # What is near to it takes a second each.
    [ "$name" != alias-bomb ] || continue
    cp "$definition" "corpus/definition/$name"
    for template in "$(dirname "$definition")"/*.txt "$(dirname "$definition")"/lists/*.txt; do
        case "$template" in *"*"* | */expected.txt) continue ;; esac
        { cat "$definition" && printf '\0' && head -c 2000 "$template"; } >"corpus/definition/$name-with-file"
    done
done
for target in definition ruleset; do
    for find in cases/$target/*; do
        [ ! -f "$find" ] || cp "$find" "corpus/$target/$(basename "$find")"
    done
done
# Structure is made of the bytes: long enough for two definitions.
for number in $(seq 40); do
    head -c 800 /dev/urandom >"corpus/ruleset/random-$number"
done

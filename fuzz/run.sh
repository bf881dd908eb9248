#!/usr/bin/env bash
# Fuzzes every target of this folder for its share of MINUTES (JOBS at a time, 2 unless said), or only those that
# TARGETS names. Prints a line a target, and fails if anything was found: the input is in target/fuzz/found then.
#   fuzz/run.sh [MINUTES]     fuzz/run.sh --keep: takes what leads further over into fuzz/corpus, few and short inputs only
# Works on stable Rust: the coverage that libFuzzer wants is an LLVM pass. Needs a C++ compiler for libFuzzer itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

jobs=${JOBS:-2}
out=${CARGO_TARGET_DIR:-target}/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')
fuzzer=$out/$host/release/sluice-fuzz
# Bytes and inputs that are kept for each target, besides its seeds.
keep_bytes=16384
keep_inputs=100

build() {
    local pass="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters"
    pass+=" -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares"
    # Without LTO, so that what is instrumented stays apart; with every check that a debug build has. The macro of
    # libFuzzer's crate exports a symbol, which the lints of this repository count as unsafe.
    RUSTFLAGS="$pass --cfg fuzzing --cap-lints allow" \
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true \
        cargo build --quiet --locked --release --target "$host" --target-dir "$out" -p sluice-fuzz --features libfuzzer
}

# What the fuzzer itself lists: name, share, longest input.
targets() {
    "$fuzzer" | while read -r name share longest; do
        case " ${TARGETS:-$name} " in *" $name "*) echo "$name $share $longest" ;; esac
    done
}

one() { # one NAME SECONDS LONGEST
    local name=$1 seconds=$2 longest=$3 log=$out/$1.log code=0
    mkdir -p "$out/corpus/$name" "$out/found"
    local runs cover inputs cpu TIMEFORMAT='%U %S'
    cpu=$({
        time SLUICE_FUZZ_TARGET=$name "$fuzzer" -max_total_time="$seconds" -max_len="$longest" -timeout=20 -rss_limit_mb=2048 \
            -artifact_prefix="$out/found/$name-" -print_final_stats=1 -use_value_profile=1 \
            "$out/corpus/$name" "fuzz/corpus/$name" >"$log" 2>&1
    } 2>&1) || code=$?
    cpu=$(awk '{ printf "%.0f", $1 + $2 }' <<<"$cpu")
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    cover=$(grep -o 'cov: [0-9]*' "$log" | tail -n 1 | cut -d ' ' -f 2)
    inputs=$(find "$out/corpus/$name" -type f | wc -l)
    printf '%-12s %6s s %6s s of CPU %10s runs %6s edges %6s inputs  %s\n' "$name" "$seconds" "$cpu" "${runs:-?}" "${cover:-?}" "$inputs" \
        "$([ "$code" -eq 0 ] && echo ok || echo "FOUND: $(sed -n 's/.*Test unit written to //p' "$log" | tail -n 1), see $log")"
    return "$code"
}

# Seeds with names of their own stay; of what was found, the shortest inputs that lead where no seed does.
keep() {
    local name rest folder size total count file
    while read -r name rest; do
        folder=$out/minimal/$name
        rm -rf "$folder"
        mkdir -p "$folder" "fuzz/corpus/$name"
        find "fuzz/corpus/$name" -type f -regextype egrep ! -regex '.*/[0-9a-f]{40}' -exec cp {} "$folder/" \;
        SLUICE_FUZZ_TARGET=$name "$fuzzer" -merge=1 "$folder" "fuzz/corpus/$name" "$out/corpus/$name" >"$out/$name.merge.log" 2>&1
        find "fuzz/corpus/$name" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -delete
        total=0 count=0
        while read -r size file; do
            total=$((total + size)) count=$((count + 1))
            [ "$total" -le "$keep_bytes" ] && [ "$count" -le "$keep_inputs" ] || break
            cp "$file" "fuzz/corpus/$name/"
        done < <(find "$folder" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -printf '%s %p\n' | sort -n)
        printf '%-12s %6s inputs kept\n' "$name" "$(find "fuzz/corpus/$name" -type f | wc -l)"
    done < <(targets)
}

build
if [ "${1:-}" = --keep ]; then
    keep
    exit
fi
minutes=${1:-60}
shares=$(targets | awk '{ sum += $2 } END { print sum }')
export -f one
export out fuzzer
targets | awk -v minutes="$minutes" -v shares="$shares" '{ print $1, int(minutes * 60 * $2 / shares) + 1, $3 }' |
    xargs -P "$jobs" -L 1 bash -c 'one "$0" "$@"' || {
    echo "fuzz: something was found; keep the input in fuzz/crashes, with a line in fuzz/crashes/README.md" >&2
    exit 1
}

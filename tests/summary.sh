#!/usr/bin/env bash
# Runs the command, a cargo test, and ends with one line that adds up the summaries of all its test binaries.
set -uo pipefail
log=$(mktemp)
trap 'rm -f "$log"' EXIT
"$@" 2>&1 | tee "$log"
code=${PIPESTATUS[0]}
awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
     END { printf "\n%d passed, %d failed%s\n", passed, failed, ignored ? ", " ignored " skipped" : "" }' "$log"
exit "$code"

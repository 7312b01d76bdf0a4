#!/bin/sh
# What everyone runs: the unit tests, then the API tests against the real binary on both databases.
# The last line is the sum over both. PYTEST_ARGS passes words on, e.g. PYTEST_ARGS='-k comment'.
#
#   scripts/test.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
. scripts/step.sh
build=$1
results_begin "$build/results/test"

unit() {
    ninja -C "$build" --quiet || return 1
    status=0
    meson test -C "$build" --no-rebuild --print-errorlogs --num-processes 2 || status=$?
    cp "$build/meson-logs/testlog.json" "$results/unit.meson.json" 2>/dev/null || :
    return $status
}

api() {
    # shellcheck disable=SC2086 # PYTEST_ARGS holds words
    SEEN_REPLIES=$results/seen TESSERA_BIN=$(pwd)/$build/tessera timeout --foreground -s INT -k 30 900 \
        /usr/bin/python3 -m pytest tests/api -n $workers -q --tb=short --maxfail=100 --backend both \
        -p no:cacheprovider \
        --junit-xml "$results/api.xml" ${PYTEST_ARGS:-}
}

suite "unit tests" unit
suite "API tests on SQLite and PostgreSQL" api
[ -n "${PYTEST_ARGS:-}" ] ||
    step "every documented reply was seen" scripts/check_seen.py docs/openapi.json "$results/seen"
results_end

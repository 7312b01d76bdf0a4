#!/bin/sh
# The deep run: lints, generated pages, then everything that runs again under sanitizers, faults and
# fuzzing. The last line is the sum. FUZZ_SECONDS is spent on each target (30; 5 when CI=true).
# LINTED=1: scripts/lint.sh has been run.
#
#   scripts/check.sh BUILD_DIR
set -eu
cd "$(dirname "$0")/.."
. scripts/step.sh
build=$1
sum_later=${SUM_LATER:-}
if [ "${CI:-}" = true ]; then FUZZ_SECONDS=${FUZZ_SECONDS:-5}; fi
FUZZ_SECONDS=${FUZZ_SECONDS:-30}
[ "${LINTED:-}" = 1 ] || SUM_LATER=1 scripts/lint.sh "$build" || :
results_begin "$build/results/check"

unit_in() { # unit_in DIR NAME [meson test option]...
    dir=$1 name=$2 status=0
    shift 2
    rm -f "$dir/meson-logs/testlog.json"
    $steady meson test -C "$dir" --print-errorlogs --num-processes 2 --timeout-multiplier 4 "$@" ||
        status=$?
    cp "$dir/meson-logs/testlog.json" "$results/$name.meson.json" 2>/dev/null || :
    return $status
}

pytest_in() { # pytest_in BINARY FOLDER NAME SLOWNESS SECONDS [pytest option]...
    binary=$(pwd)/$1 folder=$2 name=$3 slow=$4 seconds=$5
    shift 5
    [ -n "$(find "$folder" -name 'test_*.py' | head -1)" ] || { echo "$folder holds no test" && return 1; }
    TESSERA_BIN=$binary TESSERA_TEST_SLOW=$slow timeout --foreground -s INT -k 30 "$seconds" \
        $steady /usr/bin/python3 -m pytest "$folder" -q --tb=short --maxfail=100 --backend both \
        -p no:cacheprovider --junit-xml "$results/$name.xml" "$@"
}

# Continuous integration runs a part of the API tests under sanitizers on the second database: what
# differs there is the store, which these call in every way.
asan_postgres() {
    set --
    if [ "${CI:-}" = true ]; then
        set -- -k "test_v1_ or test_every_route or test_isolation or test_schema_fuzz or test_jobs"
    fi
    pytest_in build-asan/tessera tests/api asan-postgres 4 1200 -n $workers --backend postgres "$@"
}

fuzz() { # every target, two at a time; a finding stays in build-fuzz/found
    mkdir -p build-fuzz/found
    for target in tests/fuzz/fuzz_*.c; do
        name=$(basename "$target" .c)
        mkdir -p "build-fuzz/corpus/$name" "tests/fuzz/corpus/$name"
        echo "$name"
    done | xargs -P 2 -I NAME sh -c "$steady"' build-fuzz/NAME -max_total_time='"$FUZZ_SECONDS"' -timeout=10 \
        -rss_limit_mb=2048 -artifact_prefix=build-fuzz/found/NAME- -verbosity=0 -print_final_stats=0 \
        build-fuzz/corpus/NAME tests/fuzz/corpus/NAME >build-fuzz/NAME.log 2>&1 ||
        { echo "NAME:"; tail -40 build-fuzz/NAME.log; exit 1; }'
}

# Some kernels randomise addresses more than the sanitizers' shadow memory can follow.
steady=
if setarch "$(uname -m)" -R true 2>/dev/null; then steady="setarch $(uname -m) -R"; fi
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0 UBSAN_OPTIONS=print_stacktrace=1

step "generated pages are current" scripts/docs.sh "$build/tessera" check
step "build: clang, ASan and UBSan" scripts/build_sanitized.sh asan
suite "unit tests under ASan and UBSan" unit_in build-asan asan
suite "API tests under ASan and UBSan on SQLite" \
    pytest_in build-asan/tessera tests/api asan-sqlite 4 1200 -n $workers --backend sqlite
suite "API tests under ASan and UBSan on PostgreSQL" asan_postgres
step "build: clang, TSan" scripts/build_sanitized.sh tsan
suite "thread tests under TSan" unit_in build-tsan tsan --suite thread
suite "fault tests" pytest_in "$build/tessera" tests/fault fault 1 1800 -n $workers
step "build: fuzz targets" scripts/build_sanitized.sh fuzz
step "fuzzing, $FUZZ_SECONDS s a target" fuzz

if [ "$sum_later" = 1 ]; then results_end; else
    python3 scripts/summary.py "$build/results/lint" "$build/results/check"
fi

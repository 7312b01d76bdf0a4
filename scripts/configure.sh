#!/bin/sh
# Configure a build directory once, and again when a test program came or went: test programs are
# found by their names, and meson looks only when it configures.
#
#   scripts/configure.sh DIR [meson option]...        CC=clang in front chooses the compiler
set -eu
cd "$(dirname "$0")/.."
dir=$1
shift
want="$* ${CC:-} $(ls tests/unit/test_*.c tests/fuzz/fuzz_*.c 2>/dev/null | tr '\n' ' ')"
seen=$dir/.configured
[ -f "$dir/build.ninja" ] && [ -f "$seen" ] && [ "$(cat "$seen")" = "$want" ] && exit 0
mkdir -p "$dir"
if [ -f "$dir/build.ninja" ]; then
    set -- setup --reconfigure "$dir" "$@"
else
    set -- setup "$dir" "$@"
fi
meson "$@" >"$dir/configure.log" 2>&1 || {
    cat "$dir/configure.log" >&2
    exit 1
}
printf '%s' "$want" >"$seen"

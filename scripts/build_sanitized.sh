#!/bin/sh
# Build everything once more, with clang, under sanitizers: in build-asan, build-tsan or build-fuzz.
#
#   scripts/build_sanitized.sh asan|tsan|fuzz
set -eu
cd "$(dirname "$0")/.."
case $1 in
asan) set -- "$1" address,undefined ;;
tsan) set -- "$1" thread ;;
fuzz) set -- "$1" address,undefined -Dfuzz=true -Dtests=false ;;
*) sed -n 's/^#   //p' "$0" >&2 && exit 2 ;;
esac
dir=build-$1 sanitizers=$2
shift 2
CC=clang scripts/configure.sh "$dir" -Db_sanitize="$sanitizers" -Db_lundef=false -Doptimization=1 "$@"
ninja -C "$dir" --quiet

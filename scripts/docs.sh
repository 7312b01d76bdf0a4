#!/bin/sh
# The pages under docs/ that the program writes itself: write them anew, or check that none changed.
#
#   scripts/docs.sh BINARY write|check
set -eu
cd "$(dirname "$0")/.."
binary=$1
mode=$2
new=$(mktemp -d)
trap 'rm -rf "$new"' EXIT

"$binary" openapi >"$new/openapi.json"
"$binary" errors --markdown >"$new/errors.md"
"$binary" config --markdown >"$new/config.md"
"$binary" roles --markdown >"$new/roles.md"

status=0
for page in openapi.json errors.md config.md roles.md; do
    cmp -s "$new/$page" "docs/$page" && continue
    if [ "$mode" = write ]; then
        mkdir -p docs
        cp "$new/$page" "docs/$page"
        echo "wrote docs/$page"
    else
        echo "docs/$page is not what the program says (make docs writes it anew):"
        diff -u "docs/$page" "$new/$page" | head -40 || :
        status=1
    fi
done
exit $status

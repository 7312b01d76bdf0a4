#!/bin/sh
# Start the server for somebody who tries it out: make the master key on the first run, then become
# the server. The first start on an empty database makes an admin and a token and prints them once.
#
#   scripts/run.sh BINARY LISTEN DATABASE
set -eu
cd "$(dirname "$0")/.."
key=data/master.key
umask 077
mkdir -p data
if [ ! -s "$key" ]; then
    # Written beside and renamed, so that an interrupted first run leaves no half key behind.
    od -An -N32 -tx1 /dev/urandom | tr -d ' \n' >"$key.new"
    [ "$(wc -c <"$key.new")" -eq 64 ] || { echo "run.sh: cannot make a key" >&2; exit 1; }
    mv "$key.new" "$key"
    echo "Made $key: keep a copy of it; the keys that the server derives hang on it." >&2
fi
TESSERA_MASTER_KEY=${TESSERA_MASTER_KEY:-$key}
export TESSERA_MASTER_KEY
exec "$1" serve --first-run --listen "$2" --database "$3"

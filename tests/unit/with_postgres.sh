#!/bin/sh
# A throw-away PostgreSQL server in a folder of its own, for the unit tests. It listens on a Unix socket in that folder
# only and runs as a user that is not root (initdb refuses root).
#
#   with_postgres.sh init [PID]      make a folder with a database cluster, start it, print the folder; drop it when
#                                    the process PID has ended (a test that was killed leaves nothing behind)
#   with_postgres.sh start FOLDER    start it again
#   with_postgres.sh stop FOLDER     stop it (fast: open sessions are ended)
#   with_postgres.sh drop FOLDER     stop it and remove the folder
#
# Connect with: postgresql:///postgres?host=FOLDER&user=tessera
set -eu

die() {
    echo "with_postgres.sh: $1" >&2
    exit 2
}

# The server's programs: on the PATH, or where Debian hides them (newest version).
bin=
for dir in $(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -t/ -k5 -rn) $(echo "$PATH" | tr : ' '); do
    if [ -x "$dir/initdb" ] && [ -x "$dir/pg_ctl" ]; then
        bin=$dir
        break
    fi
done
[ -n "$bin" ] || die "no initdb found: install the package postgresql"

# Run the rest of the line as a user that is not root.
as_user() {
    if [ "$(id -u)" -ne 0 ]; then
        "$@"
    else
        setpriv --reuid=nobody --regid="$(id -g nobody)" --clear-groups env HOME=/ "$@"
    fi
}

start() {
    as_user "$bin/pg_ctl" --silent --wait --timeout=60 -D "$1/data" -l "$1/log" \
        -o "-c listen_addresses= -c unix_socket_directories=$1 -c max_connections=60 -c deadlock_timeout=200ms" start >&2
}

drop() {
    [ -f "$1/data/PG_VERSION" ] || die "$1 is no folder of mine"
    as_user "$bin/pg_ctl" --silent --wait --timeout=60 -m immediate -D "$1/data" stop >&2 || :
    rm -rf "$1"
}

watch() {
    while [ -d "$1" ] && kill -0 "$2" 2>/dev/null; do
        sleep 1
    done
    [ ! -d "$1" ] || drop "$1"
}

cd /
case "${1:-}" in
init)
    folder=$(mktemp -d "${TMPDIR:-/tmp}/tessera-pg.XXXXXX")
    [ "$(id -u)" -ne 0 ] || chown nobody "$folder"
    as_user "$bin/initdb" --username=tessera --auth=trust --encoding=UTF8 --locale=C --no-sync \
        -D "$folder/data" >"$folder/initdb.log" 2>&1 || {
        cat "$folder/initdb.log" >&2
        exit 2
    }
    start "$folder"
    if [ -n "${2:-}" ]; then
        (watch "$folder" "$2") >/dev/null 2>&1 </dev/null &
    fi
    echo "$folder"
    ;;
start) start "$2" ;;
stop) as_user "$bin/pg_ctl" --silent --wait --timeout=60 -m fast -D "$2/data" stop >&2 ;;
drop) drop "$2" ;;
*) die "usage: init [PID] | start FOLDER | stop FOLDER | drop FOLDER" ;;
esac

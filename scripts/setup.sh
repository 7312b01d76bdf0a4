#!/bin/sh
# Install what is missing for the named purposes, and nothing else.
#
#   scripts/setup.sh [build] [test] [check] [bench]        (none named: all four)
#
# Each purpose is a short list of Debian packages below; 'build' also wants the web page assets
# of package.json, 'test' the libraries of tests/npm that verify webhooks, and 'bench' the packages
# of the peers it measures against. When nothing is missing this takes a
# few milliseconds, so every make target calls it. Without root and without sudo it prints the
# packages to install and stops with status 1. SKIP_SETUP=1 turns it off, for systems
# that get their libraries in another way.
set -eu
cd "$(dirname "$0")/.."
[ "${SKIP_SETUP:-}" = 1 ] && exit 0

BUILD='gcc libc6-dev pkg-config meson ninja-build python3 libmicrohttpd-dev libgnutls28-dev
       libjansson-dev libsqlite3-dev libpq-dev libssl-dev libargon2-dev zlib1g-dev libxxhash-dev
       librhonabwy-dev libcurl4-openssl-dev libmaxminddb-dev libxlsxwriter-dev libicu-dev'
TEST='libcmocka-dev python3-pytest python3-pytest-xdist python3-requests python3-jsonschema
      python3-psycopg2 postgresql sqlite3 curl openssl nodejs python3-jwt python3-openpyxl
      python3-pyotp python3-aiosmtpd python3-h2'
CHECK='clang clang-format clang-tidy libclang-rt-14-dev git'
BENCH='wrk nginx-light postgresql libsqlite3-dev build-essential'

say() { printf '%s\n' "$*" >&2; }

list_missing() { # the packages among "$@" that are not installed, one a line
    dpkg-query -W -f='${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
        awk -v want="$*" '
            $1 == "installed" { have[$2] = 1 }
            END { n = split(want, p, " "); for (i = 1; i <= n; i++) if (!have[p[i]]) print p[i] }' |
        sort -u
}

apt_install() { # install "$@" as root or through sudo, else say what to do
    if [ "$(id -u)" = 0 ]; then
        as_root=
    elif command -v sudo >/dev/null 2>&1; then
        as_root=sudo
    else
        refuse "neither root nor sudo here." "$@"
    fi
    say "Installing: $*"
    # shellcheck disable=SC2086 # as_root is one word or none
    { DEBIAN_FRONTEND=noninteractive $as_root apt-get -q update &&
        $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get -q install -y --no-install-recommends "$@"; } >&2 ||
        refuse "the installation failed." "$@"
}

refuse() { # refuse REASON PACKAGE...: name the exact command and stop
    say "Cannot install packages: $1"
    shift
    say "Please have these Debian packages installed, then run the same command again:"
    say ""
    say "    apt-get install --no-install-recommends $*"
    say ""
    exit 1
}

npm_install() { # npm_install DIR SCRIPTS: fetch what DIR/package-lock.json names, if not yet there
    [ -f "$1/package-lock.json" ] || return 0
    done_file=$1/node_modules/.package-lock.json
    [ -f "$done_file" ] && [ ! "$1/package-lock.json" -nt "$done_file" ] && return 0
    command -v npm >/dev/null 2>&1 || apt_install nodejs npm
    say "Installing: npm packages of $1/package-lock.json"
    (cd "$1" && npm ci --no-audit --no-fund --loglevel=error --ignore-scripts="$2") >&2 || {
        say "npm could not install the packages of $1/package-lock.json."
        exit 1
    }
    touch "$done_file"
}

[ $# -gt 0 ] || set -- build test check bench
packages=
for purpose; do
    case $purpose in
    build) packages="$packages $BUILD" ;;
    test) packages="$packages $TEST" ;;
    check) packages="$packages $CHECK" ;;
    bench) packages="$packages $BENCH" ;;
    *) say "setup.sh: unknown purpose '$purpose' (build, test, check, bench)"; exit 2 ;;
    esac
done

if command -v dpkg-query >/dev/null 2>&1; then
    # shellcheck disable=SC2086 # package names hold no blanks
    missing=$(list_missing $packages)
    # shellcheck disable=SC2086
    [ -z "$missing" ] || apt_install $missing
else
    say "Not a Debian system: make sure that these, under your system's names, are present:"
    # shellcheck disable=SC2086
    say "   " $packages
    say "and set SKIP_SETUP=1 to pass this step."
    exit 1
fi

for purpose; do
    case $purpose in
    build) npm_install . true ;;
    test) npm_install tests/npm true ;;
    bench) for lock in bench/peers/*/package-lock.json; do npm_install "${lock%/*}" false; done ;;
    esac
done

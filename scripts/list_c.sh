#!/bin/sh
# The C sources and headers of the project, one a line, from the top folder.
set -eu
cd "$(dirname "$0")/.."
find src tests bench \( -name node_modules -o -name 'build*' \) -prune -o \
    \( -name '*.c' -o -name '*.h' \) -type f -print 2>/dev/null | sort

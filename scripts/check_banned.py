#!/usr/bin/env python3
"""Calls that the house does without, and calls that belong to one place only.

Each row: pattern, where it is allowed (path prefixes), where it is looked for, what to use instead.
Comments and string literals are blanked first. Prints file:line and exits 1 on a breach.
"""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
EVERYWHERE = ("src/",)
ABOVE_STORE = ("src/core/", "src/connect/", "src/sync/", "src/api/")
# What outlives every request and so has no arena, and one release handed to arena_defer.
LONG_LIVED = ("src/connect/in/brake", "src/connect/webhook/send.c", "src/connect/webhook/send_call.c",
              "src/core/egress_log", "src/core/people/mailer",
              "src/core/people/throttle", "src/core/token_dir", "src/core/token_face", "src/core/token_limit",
              "src/core/token_settle", "src/core/token_table", "src/core/usage",
              "src/api/openapi.c")

RULES = [
    (r"(strcpy|stpcpy|strcat|strncpy|strncat|v?sprintf)\s*\(", (), EVERYWHERE, "struct buf"),
    (r"(strtok|strtok_r|gets|alloca)\s*\(", (), EVERYWHERE, "struct str"),
    (r"(atoi|atol|atoll|atof|strto(l|ul|ll|ull|d|f|ld|imax|umax))\s*\(",
     ("src/base/str.c", "src/base/json.c"), EVERYWHERE, "the number readers of base/str.h"),
    (r"(malloc|calloc|realloc|free|strdup|strndup|asprintf)\s*\(", LONG_LIVED, ABOVE_STORE,
     "the arena of ctx"),
    (r"(rand|random|srand|drand48)\s*\(", (), EVERYWHERE, "base/crypt.h"),
    (r"(RAND_bytes|getrandom|getentropy)\s*\(", ("src/base/",), EVERYWHERE, "base/crypt.h"),
    (r"(clock_gettime|gettimeofday|time)\s*\(", ("src/base/", "src/http/conn.c"), EVERYWHERE, "base/clock.h"),
    (r"(sleep|usleep)\s*\(", ("src/base/",), EVERYWHERE, "a wait with a deadline"),
    (r"(localtime|gmtime|ctime|asctime)\s*\(", (), EVERYWHERE, "the _r form"),
    (r"(system|popen|tmpnam|mktemp)\s*\(", (), EVERYWHERE, "nothing: do without"),
    (r"(sqlite3|PQ)[_a-z]\w*\s*\(", ("src/store/",), EVERYWHERE, "store/db.h"),
    (r"\bMHD_\w+\s*\(", ("src/http/",), EVERYWHERE, "http/"),
    (r"curl_(easy|multi)_\w+\s*\(", ("src/base/egress", "src/core/people/mailer.c"), EVERYWHERE,
     "base/egress.h"),
    (r"typedef\s+struct\b", (), EVERYWHERE, "struct noun, spelled out"),
]
MARKS = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b(?!\s*\(?#\d+)")
NOISE = re.compile(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', re.S)


def blank(text):
    """The text with comments and literals blanked, lines kept."""
    return NOISE.sub(lambda m: re.sub(r"[^\n]", " ", m.group(0)), text)


def check(path):
    """Yield the messages of one file."""
    text = (ROOT / path).read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if MARKS.search(line):
            yield f"{path}:{number}: a mark needs an issue number: {MARKS.search(line).group(1)}(#12)"
    for number, line in enumerate(blank(text).splitlines(), 1):
        for pattern, allowed, scope, instead in RULES:
            match = re.search(r"(?<![\w.>])" + pattern, line)
            if match and path.startswith(scope) and not path.startswith(allowed or "\0"):
                yield f"{path}:{number}: {match.group(0).rstrip('(').strip()}: use {instead}"


def main():
    """Check all C files."""
    listing = subprocess.run([ROOT / "scripts/list_c.sh"], capture_output=True, text=True, check=True)
    found = [message for path in listing.stdout.split() for message in check(path)]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

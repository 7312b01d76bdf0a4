#!/usr/bin/env python3
"""Files stay at 500 lines or less, functions at 60 or less; scripts of this folder at 150.

A longer one needs a comment that says why: for a function, a comment right above it that starts
with "Long:"; for a file, "Long:" in its head comment. Prints file:line and exits 1 on a breach.
"""
import pathlib
import re
import subprocess
import sys

FILE_MAX, FUNCTION_MAX, SCRIPT_MAX = 500, 60, 150
ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = re.compile(r"([A-Za-z_]\w*)\s*\(")


def start_of(lines, brace):
    """Index of the first line of the signature whose body opens at lines[brace]."""
    start = brace
    while start > 0 and lines[start - 1].strip() and not lines[start - 1].startswith(("}", "#")) \
            and not lines[start - 1].rstrip().endswith(("*/", ";")):
        start -= 1
    return start


def has_reason(lines, start):
    """Whether the comment that ends right above lines[start] says why it is long."""
    end = start - 1
    first = end
    while first >= 0 and lines[first].strip() and not lines[first].startswith(("}", "#")):
        first -= 1
    return any("Long:" in line for line in lines[first + 1:end + 1])


def check_functions(path, lines):
    """Yield a message for each function that is too long. Bodies open and close in column 0."""
    brace = None
    for number, line in enumerate(lines):
        if line.startswith("{"):
            brace = number
        elif line.startswith("}") and brace is not None:
            start = start_of(lines, brace)
            size = number - start + 1
            name = NAME.search(" ".join(lines[start:brace]))
            if size > FUNCTION_MAX and name and not has_reason(lines, start):
                yield f"{path}:{start + 1}: {name.group(1)} has {size} lines, at most {FUNCTION_MAX}"
            brace = None


def check_file(path, limit):
    """Yield the messages of one file."""
    lines = (ROOT / path).read_text().splitlines()
    if len(lines) > limit and not any("Long:" in line for line in lines[:30]):
        yield f"{path}:1: {len(lines)} lines, at most {limit}"
    if path.endswith((".c", ".h")):
        yield from check_functions(path, lines)


def main():
    """Check the C files and the scripts."""
    listing = subprocess.run([ROOT / "scripts/list_c.sh"], capture_output=True, text=True, check=True)
    found = []
    for path in listing.stdout.split():
        found += check_file(path, FILE_MAX)
    for script in sorted((ROOT / "scripts").iterdir()):
        if script.is_file():
            found += check_file(str(script.relative_to(ROOT)), SCRIPT_MAX)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

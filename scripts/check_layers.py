#!/usr/bin/env python3
"""A file includes only its own folder and the folders to its left; every source is built.

Prints file:line for each breach and exits 1. The order is that of ARCHITECTURE.md, section 2.
"""
import pathlib
import re
import sys

LAYERS = ["base", "store", "core", "connect", "sync", "api", "http", "cli", "main"]
BESIDE = {"port": "connect", "script": "connect", "oauth": "connect", "richtext": "connect"}
ROOT = pathlib.Path(__file__).resolve().parent.parent
SRC = ROOT / "src"
INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"')


def layer_of(path):
    """The layer name of a file below src/: its first folder, or 'main' for files at the top."""
    parts = path.relative_to(SRC).parts
    return parts[0] if len(parts) > 1 else "main"


def rank(layer):
    """Position from the left; folders that stand beside a layer share its position."""
    return LAYERS.index(BESIDE.get(layer, layer))


def resolve(path, name):
    """The file that an #include "name" in `path` means, or None when it is generated or absent."""
    for base in (path.parent, SRC):
        target = (base / name).resolve()
        if target.is_file() and SRC in target.parents:
            return target
    return None


def is_allowed(own, other):
    """Whether a file of layer `own` may include one of layer `other`."""
    if own == other:
        return True
    if own in BESIDE and other in BESIDE:
        return False
    return rank(other) < rank(own)


def check_includes(path):
    """Yield one message for each include of `path` that points to the right."""
    own = layer_of(path)
    if own not in LAYERS and own not in BESIDE:
        yield f"{path.relative_to(ROOT)}:1: folder '{own}' is not a layer"
        return
    for number, line in enumerate(path.read_text().splitlines(), 1):
        match = INCLUDE.match(line)
        target = resolve(path, match.group(1)) if match else None
        if target and not is_allowed(own, layer_of(target)):
            yield (f"{path.relative_to(ROOT)}:{number}: {own} must not include "
                   f"{target.relative_to(SRC)}")


def check_listed(path):
    """Yield a message when a source is in no meson.build: it would never be compiled."""
    build = ROOT / "meson.build" if layer_of(path) == "main" else SRC / layer_of(path) / "meson.build"
    name = str(path.relative_to(build.parent))
    if not build.is_file() or f"'{name}'" not in build.read_text():
        yield f"{path.relative_to(ROOT)}:1: not listed in {build.relative_to(ROOT)}"


def main():
    """Check every file below src/."""
    found = []
    for path in sorted(SRC.rglob("*.[ch]")):
        found += check_includes(path)
        if path.suffix == ".c":
            found += check_listed(path)
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())

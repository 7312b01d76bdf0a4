#!/usr/bin/env python3
"""Turn files into C tables, so that the server is one binary.

    embed.py migrations OUT.c HEADER FILE.sql...   const struct migration migrations[], by name
    embed.py assets OUT.c HEADER NAME=FILE...      const struct asset assets[], gzip, with an ETag

HEADER declares the struct and the table; a row of zeros ends each table. Both outputs depend only
on the bytes of the files, so that equal sources give an equal binary.
"""
import gzip
import hashlib
import pathlib
import re
import sys

TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}


def quote(data):
    """The bytes as a C string literal, one source line per text line."""
    def escape(byte):
        if byte in b'"\\?':            # ? too: two of them could begin a trigraph
            return "\\" + chr(byte)
        return chr(byte) if 32 <= byte < 127 else f"\\{byte:03o}"
    lines = data.splitlines(keepends=True) or [b""]
    return "\n    ".join('"' + "".join(map(escape, line)) + '"' for line in lines)


def migrations(files):
    """Rows {name, sql}; a gap or a repeated number is an error."""
    rows = []
    for number, path in enumerate(sorted(files, key=lambda p: p.name), 1):
        match = re.fullmatch(r"(\d{4})_[a-z0-9_]+\.sql", path.name)
        if not match or int(match.group(1)) != number:
            sys.exit(f"{path}: expected a file named {number:04d}_name.sql")
        rows.append(f"    {{ {quote(path.stem.encode())}, {quote(path.read_bytes())} }},")
    return ["const struct migration migrations[] = {", *rows, "    { 0 },", "};"]


def assets(pairs):
    """Rows {name, type, etag, gzip bytes, size}."""
    data, rows = [], []
    for index, (name, path) in enumerate(pairs):
        if path.suffix not in TYPES:
            sys.exit(f"{path}: no content type for '{path.suffix}' in embed.py")
        raw = path.read_bytes()
        packed = gzip.compress(raw, 9, mtime=0)
        tag = hashlib.sha256(raw).hexdigest()[:16]
        data += [f"static const unsigned char data_{index}[] = {{",
                 *(",".join(map(str, packed[at:at + 4096])) + "," for at in range(0, len(packed), 4096)),
                 "};"]
        rows.append(f'    {{ "{name}", "{TYPES[path.suffix]}", "\\"{tag}\\"", data_{index}, '
                    f"sizeof data_{index} }},")
    return [*data, "const struct asset assets[] = {", *rows, "    { 0 },", "};"]


def main():
    """Write the table that the command line asks for."""
    kind, out, header, *inputs = sys.argv[1:]
    if kind == "migrations":
        table = migrations([pathlib.Path(name) for name in inputs])
    elif kind == "assets":
        table = assets([(name, pathlib.Path(path)) for name, path in (i.split("=", 1) for i in inputs)])
    else:
        sys.exit(__doc__)
    lines = ["/* Made by scripts/embed.py: do not edit. */", f'#include "{header}"', "", *table, ""]
    pathlib.Path(out).write_text("\n".join(lines))


if __name__ == "__main__":
    main()

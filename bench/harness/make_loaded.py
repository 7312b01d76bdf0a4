"""The big database of the measures `loaded` and `stats`: made once per run with make_data.py."""

from dataclasses import dataclass

import make_data

from .servers import TesseraSqlite

OTHER_TOKENS = 19


@dataclass
class Loaded:
    """A filled database and the token that owns half of it."""
    server: TesseraSqlite
    path: str
    token_id: str
    token: str
    words: str


def is_ready(bench):
    return bench.loaded is not None


def get(bench):
    """The filled database of this run; the first call makes it (two minutes at full size)."""
    if bench.loaded is None:
        tickets, usage = bench.data_rows
        words = f"{short(tickets)} tickets and {short(usage)} usage rows"
        bench.say(f"making a database with {words}")
        server = TesseraSqlite(bench)
        server.name = "loaded"  # names the file
        server.prepare()
        for n in range(OTHER_TOKENS):
            server.make_token(f"other {n}")
        make_data.make(server.file, tickets, usage, lambda text: bench.say("  " + text))
        bench.loaded = Loaded(server, server.file, server.token_id, server.token, words)
    return bench.loaded


def remove(bench):
    if bench.loaded is not None:
        bench.loaded.server.remove()
        bench.loaded = None


def short(n):
    return f"{n // 1000000} million" if n >= 1000000 else f"{n:,}"

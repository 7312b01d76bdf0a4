"""Some seconds of what `make soak` does for a minute: 500 events a second while the server is killed
at random. Every acknowledged change arrives, each id with the same bytes, in order where asked."""

import contextlib
import os
import sys

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "soak"))

from hook_soak import ENV, HookSoak  # noqa: E402  pylint: disable=wrong-import-position

SECONDS = 7


def test_kills_at_random_lose_and_change_nothing(make_server):
    with contextlib.closing(make_server(ENV)) as server:
        problems, figures = HookSoak(server, SECONDS).run()

        assert not problems, problems
        assert figures["kills"] >= 2 and figures["changes"] > 500, figures

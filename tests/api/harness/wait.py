"""Waiting by deadline: tests poll for a fact and never sleep for a fixed time."""

import os
import time

import requests

# Sanitizer builds are several times slower; `make check` sets this to stretch every deadline.
SLOW = float(os.environ.get("TESSERA_TEST_SLOW", "1"))


def wait_until(fact, timeout_s, what, interval_s=0.02):
    """Call `fact` until it returns something true and return that; fail with `what` in time.

    A reply counts as something whatever its status: requests calls a 503 false.
    """
    end = time.monotonic() + timeout_s * SLOW
    while True:
        got = fact()
        if got or isinstance(got, requests.Response):
            return got
        if time.monotonic() >= end:
            raise AssertionError(f"not within {timeout_s * SLOW:.1f} s: {what}")
        time.sleep(interval_s)


def stays_true(fact, for_s, what, interval_s=0.05):
    """The opposite of wait_until: `fact` has to hold at every look for the whole span."""
    end = time.monotonic() + for_s
    while time.monotonic() < end:
        assert fact(), f"did not stay so for {for_s} s: {what}"
        time.sleep(interval_s)

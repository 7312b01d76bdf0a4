"""Fault tests: kills, full disks, lost databases. They stand on the harness of tests/api."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "api"))

from harness import fixtures  # noqa: E402
from harness.fixtures import *  # noqa: E402,F401,F403


def pytest_addoption(parser):
    fixtures.pytest_addoption(parser)
    parser.addoption("--every-step", action="store_true",
                     help="walks take every step, caller and path (minutes) instead of a sample")

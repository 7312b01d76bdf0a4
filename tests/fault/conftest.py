"""Fault tests: kills, full disks, lost databases. They stand on the harness of tests/api."""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "api"))

from harness.fixtures import *  # noqa: E402,F401,F403

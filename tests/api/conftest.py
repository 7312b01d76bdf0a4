"""API tests: the real binary, each test on SQLite and on PostgreSQL (--backend picks one)."""

from harness.fixtures import *  # noqa: F401,F403

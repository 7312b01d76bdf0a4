"""A short run of requests made from /openapi.json, the same on every machine; `make soak` runs it
for longer and with other dice."""

import os
import sys

import pytest
from harness.client import contract_of
from harness.wait import SLOW

sys.path.append(os.path.join(os.path.dirname(__file__), "..", "soak"))
from schema_fuzz import SchemaFuzz  # noqa: E402  pylint: disable=wrong-import-position

REQUESTS = 2400


@pytest.fixture(scope="module")
def fuzz_server(make_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    made = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                        "TESSERA_TMP_DIR": str(folder)})
    yield made
    made.close()


@pytest.mark.parametrize("seed, as_owner", [(1, False), (2, True)], ids=["key", "owner"])
def test_requests_made_from_the_schemas_break_neither_server_nor_promise(fuzz_server, seed,
                                                                         as_owner):
    fuzz = SchemaFuzz(fuzz_server, contract_of(fuzz_server).document, seed, as_owner)
    problems = list(fuzz.run(count=REQUESTS // 2, seconds=10 * SLOW))
    fuzz.connection.close()

    assert not problems, f"{len(problems)} problems:\n" + "\n\n".join(problems)
    assert fuzz_server.is_running()
    statuses = {status for _, _, status in fuzz.statuses}
    assert {200, 201, 400, 404, 422} <= statuses, statuses
    assert fuzz.good > fuzz.requests / 20, (fuzz.good, fuzz.requests)

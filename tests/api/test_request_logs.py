"""The log of requests to other systems: pages, filters, who may read it."""

import uuid

import pytest
from harness import truth
from harness.client import assert_problem
from harness.tenants import Tenant

COLUMNS = ("team_id", "id", "integration_id", "user_id", "method", "endpoint", "status", "success",
           "outcome", "error", "duration_ms", "sent_bytes", "got_bytes", "redirects", "at_ms")
JAN_1 = 1767225600000
INTEGRATION = "01900000-0000-7000-8000-00000000000a"
USER = "01900000-0000-7000-8000-00000000000b"


def add(team, n, **fields):
    """Row number n of a team."""
    row = {"team_id": team.id, "id": f"01900000-0000-7000-8000-{n:06x}{uuid.uuid4().hex[:6]}",
           "integration_id": None, "user_id": None, "method": "POST",
           "endpoint": "https://h.example/hook?token=***", "status": 200, "success": 1,
           "outcome": "ok", "error": None, "duration_ms": 20 + n, "sent_bytes": 10, "got_bytes": 5,
           "redirects": 0, "at_ms": JAN_1 + n * 1000, **fields}
    truth.execute(team.server, f"INSERT INTO integration_request_log ({', '.join(COLUMNS)}) VALUES "
                               f"({', '.join('?' * len(COLUMNS))})", *(row[c] for c in COLUMNS))
    return row["id"]


@pytest.fixture(scope="module")
def module_team(common_server):
    made = Tenant(common_server)
    for n in range(5):
        add(made, n)
    add(made, 5, integration_id=INTEGRATION, method="GET", status=404, success=0)
    add(made, 6, user_id=USER, status=None, success=0, outcome="timeout",
        error="The host did not answer in time")
    add(made, 7, status=None, success=0, outcome="denied", endpoint="", error="Not from here")
    return made


@pytest.fixture
def team(server, module_team):
    return module_team


def test_entries_come_newest_first_and_in_pages(team):
    found, cursor = [], None
    while True:
        params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
        page = team.api.get("/v1/request-logs", params=params).json()
        found += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert [row["duration_ms"] for row in found] == list(range(27, 19, -1))
    assert found[0] == {
        "id": found[0]["id"], "integration_id": None, "user_id": None, "method": "POST",
        "endpoint": "", "status": None, "success": False, "outcome": "denied",
        "error": "Not from here", "duration_ms": 27, "sent_bytes": 10, "got_bytes": 5,
        "redirects": 0, "at": "2026-01-01T00:00:07.000Z"}


@pytest.mark.parametrize("params, durations", [
    ({"integration_id": INTEGRATION}, [25]),
    ({"user_id": USER}, [26]),
    ({"method": "GET"}, [25]),
    ({"status": 404}, [25]),
    ({"success": "false"}, [27, 26, 25]),
    ({"success": "true"}, [24, 23, 22, 21, 20]),
    ({"outcome": "timeout,denied"}, [27, 26]),
    ({"from": "2026-01-01T00:00:06Z"}, [27, 26]),
    ({"to": "2026-01-01T00:00:01Z"}, [20]),
    ({"user_id": INTEGRATION}, []),
])
def test_filters(team, params, durations):
    rows = team.api.get("/v1/request-logs", params=params).json()["data"]
    assert [row["duration_ms"] for row in rows] == durations


@pytest.mark.parametrize("params, field", [
    ({"outcome": "great"}, "outcome"), ({"status": 7}, "status"), ({"user_id": "x"}, "user_id"),
    ({"from": "soon"}, "from"), ({"odd": 1}, "odd"), ({"cursor": "abc"}, "cursor"),
])
def test_wrong_filters_are_named(team, params, field):
    assert_problem(team.api.get("/v1/request-logs", params=params), 400, "invalid_parameter",
                   [field])


def test_only_who_may_read_integrations_reads_it(team, anonymous):
    assert team.api_with(["integrations:read"]).get("/v1/request-logs").status_code == 200
    assert_problem(team.api_with(["tickets:read", "integrations:write"]).get("/v1/request-logs"),
                   403, "insufficient_scope")
    assert_problem(anonymous.get("/v1/request-logs"), 401, "missing_token")


def test_another_team_sees_nothing_of_it(team):
    stranger = Tenant(team.server)
    for params in ({}, {"integration_id": INTEGRATION}, {"user_id": USER}):
        assert stranger.api.get("/v1/request-logs", params=params).json()["data"] == []

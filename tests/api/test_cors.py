"""CORS: an allow-list of origins, nothing for anybody else."""

import pytest
from harness.client import Api
from harness.server import V0

GOOD = "https://app.example.com"
ALSO = "http://localhost:3000"


@pytest.fixture(scope="module")
def open_to_two(make_server):
    server = make_server(env={"TESSERA_CORS_ORIGINS": f"{GOOD},{ALSO}"})
    server.test_token = server.new_token()["token"]
    yield server
    server.close()


def preflight(server, origin, path=V0 + "/tickets", method="POST"):
    return Api(server).request("OPTIONS", path, headers={
        "Origin": origin, "Access-Control-Request-Method": method,
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key"})


@pytest.mark.parametrize("origin", [GOOD, ALSO])
def test_a_listed_origin_may_ask(open_to_two, origin):
    reply = preflight(open_to_two, origin)

    assert reply.status_code in (200, 204)
    assert reply.headers["Access-Control-Allow-Origin"] == origin
    assert "POST" in reply.headers["Access-Control-Allow-Methods"]
    allowed = reply.headers["Access-Control-Allow-Headers"].lower()
    assert all(h in allowed for h in ("authorization", "content-type", "idempotency-key",
                                      "tessera-team"))
    assert "Origin" in reply.headers["Vary"]


@pytest.mark.parametrize("origin", [
    "https://evil.example", GOOD + ".evil.example", "https://evil-app.example.com", "null",
    "http://app.example.com", GOOD + ":8443", "https://app.example.com.", "*",
])
def test_other_origins_get_no_permission(open_to_two, origin):
    asked = preflight(open_to_two, origin)
    sent = Api(open_to_two, open_to_two.test_token).get(V0, headers={"Origin": origin})

    assert "Access-Control-Allow-Origin" not in asked.headers
    assert "Access-Control-Allow-Origin" not in sent.headers


def test_answers_and_errors_to_a_listed_origin_can_be_read(open_to_two):
    good = Api(open_to_two, open_to_two.test_token).get("/v1/tickets", headers={"Origin": GOOD})
    wrong = Api(open_to_two).get(V0, headers={"Origin": GOOD})

    assert (good.status_code, wrong.status_code) == (200, 401)
    for reply in (good, wrong):
        assert reply.headers["Access-Control-Allow-Origin"] == GOOD
        assert "Origin" in reply.headers["Vary"]
        assert "Access-Control-Allow-Credentials" not in reply.headers
    exposed = good.headers["Access-Control-Expose-Headers"].lower()
    assert all(h in exposed for h in ("etag", "retry-after", "x-request-id", "ratelimit"))


def test_without_a_list_nobody_has_permission(server, api):
    reply = api.get(V0, headers={"Origin": GOOD})

    assert reply.status_code == 200
    assert "Access-Control-Allow-Origin" not in reply.headers
    assert "Access-Control-Allow-Origin" not in preflight(server, GOOD).headers


def test_a_preflight_needs_no_token_and_costs_no_budget(open_to_two):
    made = open_to_two.new_token(rate_limit=3)
    for _ in range(10):
        assert preflight(open_to_two, GOOD).status_code in (200, 204)

    assert open_to_two.try_token(made["token"]) == 200

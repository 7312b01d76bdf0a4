"""POST /v1/api-keys/verify: what a gateway learns about somebody else's key."""

import json
import re
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.wait import wait_until

PATH = "/v1/api-keys"
VERIFY = PATH + "/verify"


@pytest.fixture(autouse=True)
def not_across_the_hour():
    wait_until(lambda: time.time() % 3600 < 3585, 20, "the next hour begins", 0.2)


@pytest.fixture(scope="module")
def admin(common_server):
    made = common_server.new_token("admin", scopes=["admin:full"])
    return Api(common_server, made["token"], made["id"])


@pytest.fixture(scope="module")
def gateway(common_server):
    """A key that may verify others and nothing else."""
    made = common_server.new_token("gateway", scopes=["integrations:read"])
    return Api(common_server, made["token"], made["id"])


def created(admin, **body):
    reply = admin.post(PATH, {"name": "verified", **body})
    assert reply.status_code == 201, reply.text
    return reply.json()


def verdict(gateway, key, **ask):
    reply = gateway.post(VERIFY, {"key": key["token"] if isinstance(key, dict) else key, **ask})
    assert reply.status_code == 200, reply.text
    return reply.json()


UNKNOWN = {"valid": False, "code": "unknown", "key_id": None, "name": None, "scopes": None,
           "remaining": None, "limits": None, "expires_at": None, "metadata": None}


def test_a_good_key_is_valid_with_everything_about_it(admin, gateway):
    key = created(admin, name="CRM", scopes=["contacts:read"], rate_limit=100,
                  metadata={"plan": "gold"}, expires_in_days=5,
                  limits=[{"name": "burst", "requests": 7, "window": 3600000}])

    said = verdict(gateway, key)

    assert said.pop("limits") == [
        {"name": "hour", "limit": 100, "remaining": 99, "reset_s": pytest.approx(1800, abs=1801)},
        {"name": "burst", "limit": 7, "remaining": 6, "reset_s": pytest.approx(1800, abs=1801)}]
    assert said == {"valid": True, "code": "valid", "key_id": key["id"], "name": "CRM",
                    "scopes": ["contacts:read"], "remaining": 6, "expires_at": key["expires_at"],
                    "metadata": {"plan": "gold"}}


@pytest.mark.parametrize("secret", ["x", "stk_" + "z" * 43, "stk_live_" + "z" * 30 + "_aaaaaa"])
def test_a_key_that_nobody_made_is_unknown(gateway, secret):
    assert verdict(gateway, secret) == UNKNOWN


def test_a_deleted_key_is_unknown(admin, gateway):
    key = created(admin)
    admin.delete(f"{PATH}/{key['id']}")

    assert verdict(gateway, key) == UNKNOWN


def test_a_key_of_another_team_is_unknown(fresh_server):
    server, team = fresh_server, str(uuid.uuid4())
    key = server.new_token("theirs")
    gate = server.new_token("gate", scopes=["integrations:read"])
    truth.execute(server, "INSERT INTO team (id, slug, name, created_ms) VALUES (?, ?, 'T', 0)",
                  team, team[:8])
    truth.execute(server, "UPDATE integration_tokens SET team_id = ? WHERE id = ?", team,
                  key["id"])
    server.stop()
    server.start()

    assert verdict(Api(server, gate["token"]), key) == UNKNOWN
    assert Api(server, key["token"]).get("/v1/tickets").status_code == 200


def test_disabled_and_expired_keys_say_so(admin, gateway):
    off = created(admin)
    admin.post(f"{PATH}/{off['id']}/disable")
    ahead = datetime.now(timezone.utc) + timedelta(seconds=1)
    old = created(admin, expires_at=ahead.strftime("%Y-%m-%dT%H:%M:%S.%fZ"))

    wait_until(lambda: verdict(gateway, old)["code"] == "expired", 5, "it expires")

    assert verdict(gateway, off)["code"] == "disabled"
    assert verdict(gateway, off)["valid"] is False
    assert verdict(gateway, off)["key_id"] == off["id"]


def test_missing_scopes_say_so_and_take_nothing(admin, gateway):
    key = created(admin, scopes=["tickets:read"], rate_limit=5)

    assert verdict(gateway, key, scopes=["tickets:read", "tickets:write"])["code"] == \
        "scope_missing"
    assert verdict(gateway, key, scopes=["admin:full"])["code"] == "scope_missing"
    assert verdict(gateway, key, scopes=["tickets:read"])["remaining"] == 4


def test_the_address_list_is_asked(admin, gateway):
    key = created(admin, allowed_ips=["192.0.2.0/24", "2001:db8::/32"])

    assert verdict(gateway, key, ip="192.0.2.9")["valid"] is True
    assert verdict(gateway, key, ip="2001:db8::1")["valid"] is True
    assert verdict(gateway, key, ip="198.51.100.1")["code"] == "address_not_allowed"
    assert verdict(gateway, key)["code"] == "address_not_allowed"


def test_a_spent_key_is_limited_and_looking_costs_nothing(admin, gateway):
    key = created(admin, limits=[{"name": "burst", "requests": 3, "window": 3600000}])

    looked = [verdict(gateway, key, consume=False)["remaining"] for _ in range(3)]
    taken = [verdict(gateway, key)["code"] for _ in range(5)]

    assert looked == [3, 3, 3]
    assert taken == ["valid"] * 3 + ["rate_limited"] * 2
    said = verdict(gateway, key, consume=False)
    assert said["code"] == "rate_limited" and said["remaining"] == 0
    assert said["limits"][0]["remaining"] == 997        # a refusal took nothing from the hour


def test_verifying_takes_from_the_same_limits_as_calling(server, admin, gateway):
    key = created(admin, rate_limit=3)

    assert Api(server, key["token"]).get("/v1/tickets").status_code == 200
    assert verdict(gateway, key)["remaining"] == 1
    assert Api(server, key["token"]).get("/v1/tickets").headers["RateLimit"].startswith(
        '"hour";r=0;')
    assert verdict(gateway, key)["code"] == "rate_limited"


def test_threads_never_get_more_than_the_limit(server, admin):
    key = created(admin, limits=[{"name": "burst", "requests": 40, "window": 3600000}])
    made = server.new_token("gate", scopes=["integrations:read"])

    def ask(_):
        api = Api(server, made["token"], check=False)
        return [verdict(api, key)["valid"] for _ in range(15)]

    with ThreadPoolExecutor(8) as pool:
        granted = sum(sum(part) for part in pool.map(ask, range(8)))
    assert granted == 40


def test_the_use_is_in_the_keys_own_log_and_the_secret_nowhere(server, admin, gateway):
    key = created(admin)
    verdict(gateway, key, ip="192.0.2.77")
    gateway.post(VERIFY, {"key": key["token"], "nonsense": 1})

    row = truth.wait_usage(server, key["id"], 1, 5)[0]

    assert (row["endpoint"], row["status_code"], row["ip_address"]) == ("(verify)", 200,
                                                                         "192.0.2.77")
    rows = truth.wait_usage(server, gateway.token_id, 1, 5)
    assert key["token"] not in json.dumps(rows) + server.log_text()
    wait_until(lambda: key["token"][4:] not in str(truth.rows(
        server, "SELECT request_payload FROM integration_token_usage")), 2, "no secret is kept")


@pytest.mark.parametrize("body,field", [
    ({}, "key"), ({"key": ""}, "key"), ({"key": 7}, "key"), ({"key": "x" * 201}, "key"),
    ({"key": "x", "scopes": ["nonsense"]}, "scopes"), ({"key": "x", "scopes": "x"}, "scopes"),
    ({"key": "x", "ip": "300.1.1.1"}, "ip"), ({"key": "x", "consume": "no"}, "consume"),
    ({"key": "x", "other": 1}, "other"),
])
def test_a_bad_question_is_named(gateway, body, field):
    assert_problem(gateway.post(VERIFY, body), 422, None, [field])


def test_who_may_not_verify(server, admin, anonymous):
    weak = created(admin, scopes=["tickets:read"])

    assert_problem(anonymous.post(VERIFY, {"key": "x"}), 401, "missing_token")
    assert_problem(Api(server, "stk_x").post(VERIFY, {"key": "x"}), 401, "invalid_token")
    refused = assert_problem(Api(server, weak["token"]).post(VERIFY, {"key": "x"}), 403,
                             "insufficient_scope")
    assert "integrations:read" in refused["detail"]


def test_many_unknown_keys_are_limited_and_good_ones_are_not(start_server):
    server = start_server({"TESSERA_BAD_TOKEN_LIMIT": "10"})
    gate = server.new_token("gate", scopes=["integrations:read"])
    other = server.new_token("other", scopes=["integrations:read"])
    good = server.new_token("good")
    api, second = Api(server, gate["token"]), Api(server, other["token"])
    wait_until(lambda: time.time() % 60 < 50, 20, "a minute has time left", 0.2)

    replies = [api.post(VERIFY, {"key": "stk_" + "z" * 43}) for _ in range(12)]

    assert [r.status_code for r in replies] == [200] * 10 + [429] * 2
    problem = assert_problem(replies[-1], 429, "rate_limit_exceeded")
    assert problem["violated-policies"] == []
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 60
    assert verdict(api, good)["valid"] is True
    assert verdict(second, "x") == UNKNOWN
    assert re.search("stk_", server.log_text()) is None

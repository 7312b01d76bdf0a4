"""Rate limits: the hour's budget, what 429 says, the headers, restarts, and wrong tokens."""

import json
import re
import time

import pytest
from harness import truth
from harness.client import Api, assert_problem, assert_v0_error
from harness.server import V0, Server
from harness.wait import wait_until


@pytest.fixture(autouse=True)
def not_across_the_hour():
    """Limits reset at the top of the hour: let no test here begin in the last seconds of one."""
    wait_until(lambda: time.time() % 3600 < 3585, 20, "the next hour begins", 0.2)


def limited(server, limit, **kwargs):
    """A client whose token has `limit` requests an hour, none spent yet."""
    made = server.new_token(rate_limit=limit, wait=False, **kwargs)
    api = Api(server, made["token"], made["id"])
    return api


def first_answer(api, path=V0):
    """The first reply that is not 401: the token is honoured from here."""
    return wait_until(lambda: (r := api.get(path)).status_code != 401 and r, 2, "honoured")


def parse(header):
    """`"hour";r=12;t=34` -> {"r": 12, "t": 34} of the policy named hour."""
    match = re.search(r'"?hour"?((?:;[a-z]+=\d+)+)', header)
    assert match, header
    return {k: int(v) for k, v in re.findall(r";([a-z]+)=(\d+)", match.group(1))}


def test_the_budget_is_exact_and_429_has_the_documents_body(server):
    api = limited(server, 5)
    replies = [first_answer(api)] + [api.get(V0) for _ in range(7)]

    assert [r.status_code for r in replies] == [200] * 5 + [429] * 3
    body = json.loads(replies[-1].text, object_pairs_hook=list)
    assert body == [("error", "rate_limit_exceeded"), ("message", "Rate limit exceeded")]
    assert replies[-1].headers["Content-Type"].split(";")[0] == "application/json"


def test_429_says_when_to_come_back(server):
    api = limited(server, 1)
    first_answer(api)

    reply = api.get(V0)

    to_the_hour = 3600 - time.time() % 3600
    assert reply.status_code == 429
    assert to_the_hour - 3 <= int(reply.headers["Retry-After"]) <= to_the_hour + 3


def test_429_in_v1_is_a_problem(server):
    api = limited(server, 1)
    first_answer(api)

    reply = api.get("/v1/tickets")

    assert_problem(reply, 429, "rate_limit_exceeded")
    assert int(reply.headers["Retry-After"]) > 0


def test_every_answer_counts_down_the_budget(server):
    api = limited(server, 10)
    replies = [first_answer(api), api.post(V0 + "/tickets", {"title": "x"}),
               api.post(V0 + "/tickets", {}), api.get(V0 + "/nothing"), api.get("/v1/tickets"),
               api.get("/v1/tickets", params={"bad": 1})]

    assert [r.status_code for r in replies] == [200, 201, 400, 404, 200, 400]
    left = []
    for reply in replies:
        policy, state = (parse(reply.headers[h]) for h in ("RateLimit-Policy", "RateLimit"))
        assert policy == {"q": 10, "w": 3600}
        assert 0 < state["t"] <= 3600
        left.append(state["r"])
    assert left[0] == 9
    assert left == sorted(left, reverse=True)


def test_an_empty_budget_says_zero_left(server):
    api = limited(server, 1)
    assert parse(first_answer(api).headers["RateLimit"])["r"] == 0

    assert parse(api.get(V0).headers["RateLimit"])["r"] == 0


def test_a_refused_write_writes_nothing(server):
    api = limited(server, 2)
    first_answer(api)
    assert api.post(V0 + "/tickets", {"title": "last"}).status_code == 201

    assert api.post(V0 + "/tickets", {"title": "too much"}).status_code == 429

    wide = server.new_token()
    assert Api(server, wide["token"]).list_v1()["data"] == []
    assert truth.value(server, "SELECT count(*) FROM tickets WHERE token_id = ?",
                       api.token_id) == 1


def test_one_tokens_budget_is_not_anothers(server):
    poor, rich = limited(server, 1), limited(server, 50)
    first_answer(poor)
    first_answer(rich)

    assert poor.get(V0).status_code == 429
    assert rich.get(V0).status_code == 200


def test_a_new_secret_does_not_fill_the_budget(server):
    api = limited(server, 4)
    first_answer(api)
    api.get(V0)

    made = server.cli_json("token", "regenerate", api.token_id)

    again = Api(server, made["token"], api.token_id)
    assert parse(first_answer(again).headers["RateLimit"])["r"] == 1


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_the_budget_survives_a_restart(fresh_server, how):
    api = limited(fresh_server, 20)
    first_answer(api)
    for _ in range(4):
        api.create_v0()
    left = parse(api.post(V0 + "/tickets", {"title": "x"}).headers["RateLimit"])["r"]
    assert left == 14

    getattr(fresh_server, how)()
    fresh_server.start()

    after = parse(api.post(V0 + "/tickets", {"title": "x"}).headers["RateLimit"])["r"]
    # A write's count commits with it; a read's follows within 50 ms and may be lost by a kill.
    assert after == 13 if how == "stop" else 13 <= after <= 14


@pytest.mark.parametrize("how", ["stop", "kill9"])
def test_an_empty_budget_is_still_empty_after_a_restart(fresh_server, how):
    api = limited(fresh_server, 3)
    first_answer(api)
    while api.post(V0 + "/tickets", {"title": "x"}).status_code == 201:
        pass

    getattr(fresh_server, how)()
    fresh_server.start()

    statuses = [api.get(V0).status_code for _ in range(3)]
    assert statuses[-1] == 429 and statuses.count(200) <= (0 if how == "stop" else 1)


def test_health_and_metrics_cost_nothing(server):
    api = limited(server, 5)
    first_answer(api)
    for path in ("/healthz", "/readyz", "/metrics", "/openapi.json"):
        assert api.get(path).status_code == 200

    assert parse(api.get(V0).headers["RateLimit"])["r"] == 3


def test_wrong_tokens_are_limited_per_address(start_server):
    server = start_server(env={"TESSERA_BAD_TOKEN_LIMIT": "20"}, start=False)
    made = server.new_token(wait=False)
    server.start()              # so that the good token is known from the first request
    good = Api(server, made["token"])
    assert first_answer(good).status_code == 200
    bad = Api(server, "stk_" + "z" * 43)

    statuses = [bad.get(V0).status_code for _ in range(40)]

    assert set(statuses) == {401, 429}
    assert statuses.index(429) <= 20 and 401 not in statuses[statuses.index(429):]
    reply = bad.get("/v1/tickets")
    assert_problem(reply, 429, "rate_limit_exceeded")
    assert 0 < int(reply.headers["Retry-After"]) <= 3600
    assert_v0_error(bad.get(V0), 429, "rate_limit_exceeded")


def test_a_flood_of_wrong_tokens_does_not_lock_out_a_good_one(start_server):
    server = start_server(env={"TESSERA_BAD_TOKEN_LIMIT": "5"}, start=False)
    made = server.new_token(wait=False)
    server.start()              # so that the good token is known from the first request
    good = Api(server, made["token"])
    first_answer(good)
    bad = Api(server, "stk_" + "z" * 43)
    for _ in range(30):
        bad.get(V0)

    assert bad.get(V0).status_code == 429
    assert good.get(V0).status_code == 200


# --- named limits --------------------------------------------------------------------------------

KEYS = "/v1/api-keys"


@pytest.fixture(scope="module")
def admin(common_server):
    made = common_server.new_token("admin", scopes=["admin:full"])
    return Api(common_server, made["token"], made["id"])


def named(server, admin, *limits, **body):
    """A client whose key has these (name, requests, seconds), and the key."""
    reply = admin.post(KEYS, {"name": "named", "rate_limit": 1000, "limits": [
        {"name": n, "requests": r, "window": w * 1000} for n, r, w in limits], **body})
    assert reply.status_code == 201, reply.text
    return Api(server, reply.json()["token"], reply.json()["id"])


def policies(header):
    """`"hour";r=1;t=2, "burst";r=3;t=4` -> {"hour": {"r": 1, "t": 2}, "burst": …}."""
    return {name: {k: int(v) for k, v in re.findall(r";([a-z])=(\d+)", rest)}
            for name, rest in re.findall(r'"([a-z0-9_-]+)"((?:;[a-z]=\d+)+)', header)}


def test_every_policy_is_in_the_headers(server, admin):
    api = named(server, admin, ("burst", 50, 10), ("day", 10000, 86400))

    reply = api.get("/v1/tickets")

    assert reply.headers["RateLimit-Policy"] == (
        '"hour";q=1000;w=3600, "burst";q=50;w=10, "day";q=10000;w=86400')
    state = policies(reply.headers["RateLimit"])
    assert {n: s["r"] for n, s in state.items()} == {"hour": 999, "burst": 49, "day": 9999}
    assert 1 <= state["burst"]["t"] <= 10 and 1 <= state["day"]["t"] <= 86400


def test_a_spent_named_limit_refuses_and_takes_nothing_from_the_others(server, admin):
    api = named(server, admin, ("tight", 3, 3600), ("wide", 100, 86400))

    replies = [api.get("/v1/tickets") for _ in range(6)]

    assert [r.status_code for r in replies] == [200] * 3 + [429] * 3
    state = policies(replies[-1].headers["RateLimit"])
    assert {n: s["r"] for n, s in state.items()} == {"hour": 997, "tight": 0, "wide": 97}
    problem = assert_problem(replies[-1], 429, "rate_limit_exceeded")
    assert problem["violated-policies"] == ["tight"]
    assert problem["type"].endswith("#quota-exceeded")
    assert int(replies[-1].headers["Retry-After"]) == state["tight"]["t"]


def test_a_spent_hour_takes_nothing_from_the_named_ones(server, admin):
    api = named(server, admin, ("wide", 100, 86400), rate_limit=2)

    replies = [api.get("/v1/tickets") for _ in range(4)]

    assert [r.status_code for r in replies] == [200] * 2 + [429] * 2
    assert policies(replies[-1].headers["RateLimit"])["wide"]["r"] == 98
    assert replies[-1].json()["violated-policies"] == ["hour"]


def test_retry_after_is_the_longest_wait_of_all_that_are_spent(server, admin):
    api = named(server, admin, ("short", 2, 60), ("long", 2, 86400), rate_limit=2)
    for _ in range(2):
        api.get("/v1/tickets")

    reply = api.get("/v1/tickets")

    state = policies(reply.headers["RateLimit"])
    assert reply.json()["violated-policies"] == ["hour", "short", "long"]
    assert int(reply.headers["Retry-After"]) == max(s["t"] for s in state.values())


def test_the_documents_body_does_not_change(server, admin):
    api = named(server, admin, ("tight", 1, 3600))
    assert api.get(V0).status_code == 200

    assert_v0_error(api.get(V0), 429, "rate_limit_exceeded")


def test_a_named_limit_opens_again_after_retry_after(server, admin):
    api = named(server, admin, ("burst", 2, 1))
    wait_until(lambda: api.get("/v1/tickets").status_code == 429, 5, "it is spent", 0)
    refused = api.get("/v1/tickets")
    began = time.monotonic()

    wait_until(lambda: api.get("/v1/tickets").status_code == 200, 5, "it opens again")

    assert time.monotonic() - began <= int(refused.headers.get("Retry-After", 2)) + 1


def test_a_change_of_the_key_keeps_what_was_counted(server, admin):
    api = named(server, admin, ("burst", 10, 45))
    for _ in range(4):
        api.get("/v1/tickets")
    path = f"{KEYS}/{api.token_id}"

    admin.patch(path, {"limits": [{"name": "burst", "requests": 6, "window": 45000},
                                  {"name": "new", "requests": 9, "window": 45000}]})
    state = policies(api.get("/v1/tickets").headers["RateLimit"])
    assert (state["burst"]["r"], state["new"]["r"]) == (1, 8)

    admin.patch(path, {"limits": []})
    assert list(policies(api.get("/v1/tickets").headers["RateLimit"])) == ["hour"]
    admin.patch(path, {"limits": [{"name": "burst", "requests": 10, "window": 45000}]})
    assert policies(api.get("/v1/tickets").headers["RateLimit"])["burst"]["r"] == 4


def test_one_keys_named_limit_is_not_anothers(server, admin):
    poor, rich = (named(server, admin, ("burst", 1, 3600)) for _ in range(2))
    assert [poor.get("/v1/tickets").status_code for _ in range(2)] == [200, 429]

    assert rich.get("/v1/tickets").status_code == 200


# --- over restarts, between nodes ----------------------------------------------------------------


def left(api, name):
    """What the next write leaves of a limit."""
    reply = api.post(V0 + "/tickets", {"title": "x"})
    assert reply.status_code in (201, 429), reply.text
    return policies(reply.headers["RateLimit"])[name]["r"]


def keyed(server, *limits):
    made = server.new_token("admin", scopes=["admin:full"])
    return named(server, Api(server, made["token"]), *limits,
                 scopes=["tickets:read", "tickets:write"])


@pytest.mark.parametrize("how", ["stop", "kill9"])
@pytest.mark.parametrize("seconds", [86400, 7200, 5400, 2592000])
def test_a_named_limit_survives_a_restart(fresh_server, how, seconds):
    api = keyed(fresh_server, ("quota", 10, seconds))
    assert [left(api, "quota") for _ in range(4)] == [9, 8, 7, 6]

    getattr(fresh_server, how)()
    fresh_server.start()

    assert left(api, "quota") == 5


def test_a_limit_that_is_added_counts_what_the_key_has_done(fresh_server):
    api = keyed(fresh_server)
    for _ in range(4):
        left(api, "hour")
    admin = Api(fresh_server, fresh_server.new_token("admin", scopes=["admin:full"])["token"])
    limits = [{"name": "quota", "requests": 10, "window": 86400000}]
    assert admin.patch(f"{KEYS}/{api.token_id}", {"limits": limits}).status_code == 200

    def quota():
        answer = admin.post(f"{KEYS}/verify", {"key": api.token, "consume": False})
        return {limit["name"]: limit["remaining"] for limit in answer.json()["limits"]}["quota"]
    wait_until(lambda: quota() <= 6, 6, "the requests before are counted")
    assert quota() == 6


@pytest.mark.only_backend("postgres")
def test_nodes_learn_what_the_others_granted(fresh_server, tmp_path):
    other = Server("postgres", fresh_server.database, folder=str(tmp_path))
    api = keyed(fresh_server, ("quota", 10, 86400))
    other.start()
    try:
        there = Api(other, api.token, api.token_id)
        assert [left(api, "quota") for _ in range(4)] == [9, 8, 7, 6]

        wait_until(lambda: there.get(V0).status_code == 200 and policies(
            there.get(V0).headers["RateLimit"])["quota"]["r"] < 6, 8, "the other node knows")
        wait_until(lambda: api.post(V0 + "/tickets", {"title": "x"}).status_code == 429, 8, "429")
        wait_until(lambda: there.get(V0).status_code == 429, 8, "429 on the other, too")

        hour = policies(api.get(V0).headers["RateLimit"])["hour"]["r"]
        assert hour >= 1000 - 10 - 20
    finally:
        other.stop()

"""/v1/api-keys: the administration of API keys, honoured when the answer is there."""

import hashlib
import json
import re
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from harness import outside, truth
from harness.client import Api, assert_problem
from harness.wait import wait_until

PATH = "/v1/api-keys"
ALL_SCOPES = ["reports:read", "reports:write", "reports:execute", "reports:export",
              "reports:schedule", "contacts:read", "contacts:write", "tickets:read",
              "tickets:write", "tickets:comment", "tickets:resolve", "agents:read", "agents:write",
              "webhooks:manage", "integrations:read", "integrations:write", "admin:full"]


def stamp(**ahead):
    """RFC 3339 of now and so much ahead."""
    at = datetime.now(timezone.utc) + timedelta(**ahead)
    return at.strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def when(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


@pytest.fixture(scope="module")
def admin(common_server):
    """A key that may administer."""
    made = common_server.new_token("admin", scopes=["admin:full"])
    return Api(common_server, made["token"], made["id"])


def created(admin, **body):
    reply = admin.post(PATH, {"name": "made", **body})
    assert reply.status_code == 201, reply.text
    return reply.json()


def got(admin, key_id):
    reply = admin.get(f"{PATH}/{key_id}")
    assert reply.status_code == 200, reply.text
    return reply.json()


def works(server, key, path="/v1/tickets"):
    return Api(server, key["token"]).get(path).status_code


# --- create --------------------------------------------------------------------------------------


def test_create_shows_the_secret_once_and_it_works_at_once(server, admin):
    reply = admin.post(PATH, {"name": "CRM", "description": "for the shop"})

    key = reply.json()
    assert reply.status_code == 201
    assert reply.headers["Location"] == f"{PATH}/{key['id']}"
    assert re.fullmatch(r"stk_live_[0-9A-Za-z]{30}_[0-9A-Za-z]{6}", key["token"])
    assert key["masked"] == "stk_…" + key["token"][-4:]
    assert works(server, key) == 200
    shown = got(admin, key["id"])
    assert "token" not in shown and key["token"] not in json.dumps(shown)
    assert key["token"] not in admin.get(PATH).text
    assert key["token"] not in server.log_text()


def test_defaults_of_a_new_key(admin):
    key = created(admin)

    assert key["status"] == "active" and key["rate_limit"] == 1000 and key["limits"] == []
    assert key["scopes"] == ["tickets:read", "tickets:write", "tickets:comment", "tickets:resolve"]
    assert key["expires_at"] is None and key["expires_soon"] is False and key["warnings"] == []
    assert key["metadata"] == {} and key["allowed_ips"] is None
    assert key["allowed_endpoints"] is None and key["previous"] is None
    assert key["last_used_at"] is None and key["use_count"] == 0
    assert key["created_by"] == admin.token_id


def test_everything_that_is_given_is_kept(admin):
    limits = [{"name": "burst", "requests": 50, "window": 10000},
              {"name": "day", "requests": 10000, "window": 86400000}]
    key = created(admin, name="full", scopes=["contacts:*", "admin:full"], rate_limit=77,
                  limits=limits, allowed_ips=["127.0.0.0/8"], allowed_endpoints=["GET /v1/*"],
                  metadata={"owner": "ops"}, expires_in_days=90)

    shown = got(admin, key["id"])

    assert shown["scopes"] == ["contacts:read", "contacts:write", "admin:full"]
    assert shown["limits"] == limits and shown["rate_limit"] == 77
    assert shown["allowed_ips"] == ["127.0.0.0/8"]
    assert shown["allowed_endpoints"] == ["GET /v1/*"] and shown["metadata"] == {"owner": "ops"}
    left = when(shown["expires_at"]) - datetime.now(timezone.utc)
    assert timedelta(days=89, hours=23) < left <= timedelta(days=90)


def test_all_17_scopes_can_be_given(admin):
    assert created(admin, scopes=ALL_SCOPES)["scopes"] == ALL_SCOPES


def test_wildcards_never_give_admin_full(admin):
    reply = admin.post(PATH, {"name": "x", "scopes": ["admin:*"]})

    assert_problem(reply, 422, "invalid_field", ["scopes"])


@pytest.mark.parametrize("body,field", [
    ({}, "name"), ({"name": ""}, "name"), ({"name": "x" * 201}, "name"),
    ({"name": "a\nb"}, "name"), ({"name": 7}, "name"),
    ({"name": "x", "scopes": []}, "scopes"), ({"name": "x", "scopes": ["nonsense"]}, "scopes"),
    ({"name": "x", "scopes": ["keys:manage"]}, "scopes"),
    ({"name": "x", "rate_limit": 0}, "rate_limit"),
    ({"name": "x", "rate_limit": "many"}, "rate_limit"),
    ({"name": "x", "limits": [{"name": "hour", "requests": 1, "window": 1000}]}, "limits[0].name"),
    ({"name": "x", "limits": [{"name": "UP", "requests": 1, "window": 1000}]}, "limits[0].name"),
    ({"name": "x", "limits": [{"name": "a", "requests": 1, "window": 1000}] * 2}, "limits[1].name"),
    ({"name": "x", "limits": [{"name": "a", "requests": 0, "window": 1000}]},
     "limits[0].requests"),
    ({"name": "x", "limits": [{"name": "a", "requests": 1, "window": 2592000001}]},
     "limits[0].window"),
    ({"name": "x", "limits": [{"name": "a", "requests": 1}]}, "limits[0].window"),
    ({"name": "x", "limits": [{"name": f"n{i}", "requests": 1, "window": 1000}
                              for i in range(9)]}, "limits"),
    ({"name": "x", "allowed_ips": ["300.1.1.1"]}, "allowed_ips"),
    ({"name": "x", "allowed_ips": []}, "allowed_ips"),
    ({"name": "x", "allowed_endpoints": ["tickets"]}, "allowed_endpoints"),
    ({"name": "x", "metadata": [1]}, "metadata"),
    ({"name": "x", "expires_in_days": 0}, "expires_in_days"),
    ({"name": "x", "expires_in_days": 366}, "expires_in_days"),
    ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, "expires_at"),
    ({"name": "x", "expires_at": stamp(days=366)}, "expires_at"),
    ({"name": "x", "expires_at": "soon"}, "expires_at"),
    ({"name": "x", "expires_in_days": 3, "expires_at": stamp(days=3)}, "expires_in_days"),
    ({"name": "x", "status": "active"}, "status"), ({"name": "x", "token": "stk_x"}, "token"),
])
def test_a_bad_field_is_named_and_makes_no_key(server, admin, body, field):
    before = truth.value(server, "SELECT count(*) FROM integration_tokens")

    assert_problem(admin.post(PATH, body), 422, None, [field])

    assert truth.value(server, "SELECT count(*) FROM integration_tokens") == before


def test_only_the_hash_and_the_ends_are_stored(server, admin):
    key = created(admin, name="stored")

    row = truth.rows(server, "SELECT * FROM integration_tokens WHERE id = ?", key["id"])[0]

    assert key["token"] not in str(row) and key["token"][13:42] not in str(row)
    assert hashlib.sha256(key["token"].encode()).hexdigest() in row


def test_a_mistyped_secret_is_refused(server, admin):
    key = created(admin)
    wrong = key["token"][:20] + ("a" if key["token"][20] != "a" else "b") + key["token"][21:]

    assert_problem(Api(server, wrong).get("/v1/tickets"), 401, "invalid_token")


def test_the_plain_form_of_a_secret_still_works(server, admin):
    key = created(admin)
    plain = "stk_" + uuid.uuid4().hex + "ABCDEFG-_hi"
    assert len(plain) == 47
    truth.execute(server, "UPDATE integration_tokens SET token_hash = ? WHERE id = ?",
                  hashlib.sha256(plain.encode()).hexdigest(), key["id"])
    truth.execute(server, "UPDATE change_feed SET value = value + 1 WHERE name = 'token'")
    truth.execute(server, "UPDATE integration_tokens SET rev = (SELECT value FROM change_feed "
                          "WHERE name = 'token') WHERE id = ?", key["id"])

    server.wait_token(plain, {200})


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method,path", [
    ("GET", PATH), ("POST", PATH), ("GET", f"{PATH}/{{id}}"), ("PATCH", f"{PATH}/{{id}}"),
    ("DELETE", f"{PATH}/{{id}}"), ("POST", f"{PATH}/{{id}}/enable"),
    ("POST", f"{PATH}/{{id}}/disable"), ("POST", f"{PATH}/{{id}}/regenerate"),
])
def test_every_route_wants_a_key_with_admin_full(server, admin, anonymous, method, path):
    key = created(admin)
    strong = created(admin, scopes=ALL_SCOPES[:-1])
    path = path.replace("{id}", key["id"])
    body = {"name": "x"} if path == PATH else {}
    kwargs = {"json": body} if method in ("POST", "PATCH") else {}

    assert_problem(anonymous.request(method, path, **kwargs), 401, "missing_token")
    assert_problem(Api(server, "stk_wrong").request(method, path, **kwargs), 401, "invalid_token")
    refused = assert_problem(Api(server, strong["token"]).request(method, path, **kwargs), 403,
                             "insufficient_scope")
    assert "admin:full" in refused["detail"]
    assert got(admin, key["id"])["updated_at"] == key["updated_at"]


@pytest.mark.parametrize("method,tail", [("GET", ""), ("PATCH", ""), ("DELETE", ""),
                                         ("POST", "/enable"), ("POST", "/disable"),
                                         ("POST", "/regenerate")])
def test_an_unknown_id_is_404_and_a_bad_one_400(admin, method, tail):
    kwargs = {"json": {}} if method in ("POST", "PATCH") else {}

    missing = admin.request(method, f"{PATH}/{uuid.uuid4()}{tail}", **kwargs)
    bad = admin.request(method, f"{PATH}/not-an-id{tail}", **kwargs)

    assert_problem(missing, 404, "not_found")
    assert_problem(bad, 400, "invalid_parameter", ["api_key_id"])


def test_a_key_of_another_team_is_not_found(server, admin):
    team, key = str(uuid.uuid4()), created(admin)
    truth.execute(server, "INSERT INTO team (id, slug, name, created_ms) VALUES (?, ?, 'T', 0)",
                  team, team[:8])
    truth.execute(server, "UPDATE integration_tokens SET team_id = ? WHERE id = ?", team,
                  key["id"])

    for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/enable"),
                         ("POST", "/disable"), ("POST", "/regenerate")):
        kwargs = {"json": {}} if method in ("POST", "PATCH") else {}
        assert_problem(admin.request(method, f"{PATH}/{key['id']}{tail}", **kwargs), 404)
    assert key["id"] not in {k["id"] for k in listed(admin, q=key["name"])}
    assert truth.value(server, "SELECT status FROM integration_tokens WHERE id = ?",
                       key["id"]) == "active"


def test_people_manage_keys_by_their_role(start_server):
    server = start_server(outside.settings(secret=outside.SECRET, trust_email="1"))
    owner, manager, agent = (outside.outsider(server, role) for role in ("owner", "admin",
                                                                         "agent"))
    weak = manager.post(PATH, {"name": "weak", "scopes": ["tickets:read"]})
    strong = owner.post(PATH, {"name": "strong", "scopes": ["admin:full"]})
    path = f"{PATH}/{strong.json()['id']}"

    assert (weak.status_code, strong.status_code) == (201, 201)
    assert_problem(agent.get(PATH), 403, "insufficient_role")
    for reply in (manager.post(PATH, {"name": "x", "scopes": ["admin:full"]}),
                  manager.patch(f"{PATH}/{weak.json()['id']}", {"scopes": ["admin:full"]}),
                  manager.patch(path, {"name": "mine"}),
                  manager.post(f"{path}/regenerate", {})):
        refused = assert_problem(reply, 403, "insufficient_role")
        assert "admin:full" in refused["detail"] and "owner" in refused["detail"]
    assert manager.post(f"{path}/disable").status_code == 200
    assert_problem(manager.post(f"{path}/enable"), 403, "insufficient_role")
    assert owner.post(f"{path}/enable").json()["status"] == "active"
    assert manager.post(f"{PATH}/verify", {"key": weak.json()["token"]}).json()["valid"] is True


# --- list ----------------------------------------------------------------------------------------


def listed(admin, **params):
    found, cursor = [], None
    while True:
        reply = admin.get(PATH, params={**params, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, reply.text
        found += reply.json()["data"]
        cursor = reply.json()["next_cursor"]
        if not cursor:
            return found


def test_list_is_newest_first_and_pages(admin):
    name = uuid.uuid4().hex
    ids = [created(admin, name=f"{name} {i}")["id"] for i in range(5)]

    assert [k["id"] for k in listed(admin, q=name, limit=2)] == ids[::-1]


def test_list_filters_by_status_words_and_expiry(admin):
    name = uuid.uuid4().hex
    alive = created(admin, name=f"{name} a", expires_in_days=300)["id"]
    soon = created(admin, name=f"{name} b", expires_in_days=2, description="50%_off")["id"]
    off = created(admin, name=f"{name} c")["id"]
    assert admin.post(f"{PATH}/{off}/disable").status_code == 200
    gone = created(admin, name=f"{name} d")
    assert admin.delete(f"{PATH}/{gone['id']}").status_code == 204

    def ids(**params):
        return [k["id"] for k in listed(admin, q=name, limit=1, **params)]

    assert ids() == [off, soon, alive]
    assert ids(status="active") == [soon, alive]
    assert ids(status="disabled") == [off]
    assert ids(status="active,disabled") == [off, soon, alive]
    assert ids(status="expired") == []
    assert ids(expires_before=stamp(days=7)) == [soon]
    assert soon in {k["id"] for k in listed(admin, q="50%_OFF")}
    assert alive not in {k["id"] for k in listed(admin, q="50%_OFF")}


def test_an_expired_key_is_listed_as_expired(server, admin):
    key = created(admin, name=uuid.uuid4().hex, expires_at=stamp(seconds=1))

    found = wait_until(lambda: listed(admin, q=key["name"], status="expired"), 5, "it expires")

    assert found[0]["status"] == "expired" and found[0]["warnings"] == ["has expired"]
    assert listed(admin, q=key["name"], status="active") == []
    assert works(server, key) == 401


def test_expired_keys_page_by_cursor_while_time_goes_on(admin):
    name = uuid.uuid4().hex
    ids = [created(admin, name=name, expires_at=stamp(milliseconds=300))["id"] for _ in range(3)]
    wait_until(lambda: len(listed(admin, q=name, status="expired")) == 3, 5, "all have expired")

    assert [k["id"] for k in listed(admin, q=name, status="expired", limit=1)] == ids[::-1]


@pytest.mark.parametrize("params,name", [({"status": "deleted"}, "status"), ({"bad": 1}, "bad"),
                                         ({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"),
                                         ({"expires_before": "soon"}, "expires_before")])
def test_a_bad_parameter_of_the_list_is_named(admin, params, name):
    assert_problem(admin.get(PATH, params=params), 400, "invalid_parameter", [name])


# --- change --------------------------------------------------------------------------------------


def test_patch_changes_what_is_given_and_nothing_else(admin):
    key = created(admin, name="before", description="d", metadata={"a": 1, "b": {"c": 2}},
                  rate_limit=50, expires_in_days=10)

    reply = admin.patch(f"{PATH}/{key['id']}", {
        "name": "after", "metadata": {"b": {"c": None, "d": 3}}, "scopes": ["agents:read"],
        "limits": [{"name": "burst", "requests": 5, "window": 10000}]})

    assert reply.status_code == 200
    assert reply.json() == got(admin, key["id"])
    after = reply.json()
    assert (after["name"], after["description"], after["rate_limit"]) == ("after", "d", 50)
    assert after["metadata"] == {"a": 1, "b": {"d": 3}} and after["scopes"] == ["agents:read"]
    assert after["limits"] == [{"name": "burst", "requests": 5, "window": 10000}]
    assert after["expires_at"] == key["expires_at"] and after["masked"] == key["masked"]


def test_null_clears_what_may_be_null(admin):
    key = created(admin, description="d", expires_in_days=3, allowed_ips=["10.0.0.1"],
                  allowed_endpoints=["/v1/*"], metadata={"a": 1},
                  limits=[{"name": "a", "requests": 1, "window": 1000}])

    after = admin.patch(f"{PATH}/{key['id']}", dict.fromkeys(
        ["description", "expires_at", "allowed_ips", "allowed_endpoints", "metadata",
         "limits"])).json()

    assert [after[n] for n in ("description", "expires_at", "allowed_ips",
                               "allowed_endpoints")] == [None] * 4
    assert after["metadata"] == {} and after["limits"] == []


@pytest.mark.parametrize("body,field", [
    ({"name": None}, "name"), ({"name": " "}, "name"), ({"scopes": None}, "scopes"),
    ({"scopes": ["x"]}, "scopes"), ({"rate_limit": -1}, "rate_limit"), ({"status": "x"}, "status"),
    ({"limits": [{"name": "a", "requests": 1, "window": 999}]}, "limits[0].window"),
    ({"expires_at": "2020-01-01T00:00:00Z"}, "expires_at"), ({"expires_in_days": 400},
                                                            "expires_in_days"),
])
def test_a_bad_change_is_named_and_changes_nothing(admin, body, field):
    key = created(admin)

    assert_problem(admin.patch(f"{PATH}/{key['id']}", body), 422, None, [field])

    assert got(admin, key["id"])["updated_at"] == key["updated_at"]


def test_a_change_is_honoured_when_the_answer_is_there(server, admin):
    key = created(admin)
    assert works(server, key) == 200

    for _ in range(5):
        admin.patch(f"{PATH}/{key['id']}", {"scopes": ["agents:read"]})
        assert works(server, key) == 403
        admin.patch(f"{PATH}/{key['id']}", {"scopes": ["tickets:read"]})
        assert works(server, key) == 200
        admin.post(f"{PATH}/{key['id']}/disable")
        assert works(server, key) == 401
        admin.post(f"{PATH}/{key['id']}/enable")
        assert works(server, key) == 200


def test_if_match_guards_a_change_and_a_deletion(admin):
    key = created(admin)
    path = f"{PATH}/{key['id']}"
    old = admin.get(path).headers["ETag"]
    new = admin.patch(path, {"name": "two"}, headers={"If-Match": old}).headers["ETag"]

    assert new != old and admin.get(path).headers["ETag"] == new
    assert_problem(admin.patch(path, {"name": "three"}, headers={"If-Match": old}), 412)
    assert_problem(admin.delete(path, headers={"If-Match": old}), 412)
    assert got(admin, key["id"])["name"] == "two"
    assert admin.delete(path, headers={"If-Match": new}).status_code == 204


def test_disable_and_enable_twice_are_the_same_as_once(server, admin):
    key = created(admin)
    for _ in range(2):
        reply = admin.post(f"{PATH}/{key['id']}/disable")
        assert reply.status_code == 200 and reply.json()["status"] == "disabled"
    for _ in range(2):
        reply = admin.post(f"{PATH}/{key['id']}/enable")
        assert reply.status_code == 200 and reply.json()["status"] == "active"
    assert works(server, key) == 200


def test_delete_stops_the_key_for_ever_and_keeps_its_usage(server, admin):
    key = created(admin)
    assert works(server, key) == 200

    assert admin.delete(f"{PATH}/{key['id']}").status_code == 204

    assert works(server, key) == 401
    assert_problem(admin.get(f"{PATH}/{key['id']}"), 404)
    assert_problem(admin.post(f"{PATH}/{key['id']}/enable"), 404)
    assert_problem(admin.delete(f"{PATH}/{key['id']}"), 404)
    wait_until(lambda: truth.value(
        server, "SELECT count(*) FROM integration_token_usage WHERE token_id = ?",
        key["id"]) == 1, 5, "the usage is there")


def test_a_key_cannot_delete_or_disable_itself(server, admin):
    own = created(admin, scopes=["admin:full"])
    api = Api(server, own["token"])

    assert_problem(api.delete(f"{PATH}/{own['id']}"), 409, "conflict")
    assert_problem(api.post(f"{PATH}/{own['id']}/disable"), 409, "conflict")

    assert works(server, own) == 200
    assert api.patch(f"{PATH}/{own['id']}", {"name": "renamed"}).status_code == 200


# --- regenerate ----------------------------------------------------------------------------------


def test_regenerate_stops_the_old_secret_at_once(server, admin):
    key = created(admin, expires_in_days=30)

    reply = admin.post(f"{PATH}/{key['id']}/regenerate", {})

    new = reply.json()
    assert reply.status_code == 200 and new["id"] == key["id"] and new["token"] != key["token"]
    assert new["expires_at"] == key["expires_at"] and new["previous"] is None
    assert (works(server, key), works(server, new)) == (401, 200)


def test_with_grace_both_secrets_work_and_the_old_one_is_shown(server, admin):
    key = created(admin)

    new = admin.post(f"{PATH}/{key['id']}/regenerate", {"grace_seconds": 3600}).json()

    assert (works(server, key), works(server, new)) == (200, 200)
    assert new["previous"]["masked"] == key["masked"]
    left = when(new["previous"]["until"]) - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    assert got(admin, key["id"])["previous"] == new["previous"]


def test_the_grace_time_ends(server, admin):
    key = created(admin)
    new = admin.post(f"{PATH}/{key['id']}/regenerate", {"grace_seconds": 1}).json()
    assert works(server, key) == 200

    wait_until(lambda: works(server, key) == 401, 5, "the old secret ends")

    assert works(server, new) == 200 and got(admin, key["id"])["previous"] is None


def test_grace_never_outlives_the_key(admin):
    key = created(admin, expires_at=stamp(hours=1))

    new = admin.post(f"{PATH}/{key['id']}/regenerate", {"grace_seconds": 86400}).json()

    assert new["previous"]["until"] == new["expires_at"] == key["expires_at"]


@pytest.mark.parametrize("grace", [-1, 2592001, "1h", 1.5])
def test_a_bad_grace_time_is_named(server, admin, grace):
    key = created(admin)

    reply = admin.post(f"{PATH}/{key['id']}/regenerate", {"grace_seconds": grace})

    assert_problem(reply, 422, "invalid_field", ["grace_seconds"])
    assert works(server, key) == 200


def test_a_key_may_regenerate_itself(server, admin):
    own = created(admin, scopes=["admin:full"])

    new = Api(server, own["token"]).post(f"{PATH}/{own['id']}/regenerate", {}).json()

    assert (works(server, own), works(server, new)) == (401, 200)


# --- what is told about a key --------------------------------------------------------------------


@pytest.mark.parametrize("days,soon,warnings", [
    (8, False, []), (6, True, ["expires in 5 days"]), (2, True, ["expires in 1 day"]),
    (1, True, ["expires in less than a day"])])
def test_a_key_warns_before_it_expires(admin, days, soon, warnings):
    key = created(admin, expires_in_days=days)
    shown = got(admin, key["id"])

    assert shown["expires_soon"] is soon and shown["warnings"] == warnings


def test_the_metric_counts_keys_that_expire_soon(fresh_server):
    made = fresh_server.new_token("admin", scopes=["admin:full"])
    admin = Api(fresh_server, made["token"], made["id"])

    def expiring():
        return int(re.search(r"^tessera_api_keys_expiring (\d+)$", admin.get("/metrics").text,
                             re.M).group(1))

    assert expiring() == 0
    created(admin, expires_in_days=30)
    key = created(admin, expires_in_days=3)
    wait_until(lambda: expiring() == 1, 5, "it is counted")

    admin.post(f"{PATH}/{key['id']}/disable")

    wait_until(lambda: expiring() == 0, 5, "it is no longer counted")


def test_use_is_counted(server, admin):
    key = created(admin)
    for _ in range(3):
        assert works(server, key) == 200

    shown = wait_until(lambda: (k := got(admin, key["id"]))["use_count"] >= 3 and k, 5, "counted")
    assert shown["use_count"] == 3 and shown["last_used_at"] >= shown["created_at"]


def test_the_command_line_and_the_api_show_one_key(server, admin):
    key = created(admin, name="both", rate_limit=5)

    shown = server.cli_json("token", "show", key["id"])

    assert (shown["name"], shown["rate_limit"], shown["masked"]) == ("both", 5, key["masked"])
    made = server.cli_json("token", "create", "--name", "cli")
    assert got(admin, made["id"])["created_by"] is None


# --- audit ---------------------------------------------------------------------------------------


def test_every_change_leaves_an_audit_row_without_secrets(server, admin):
    key = created(admin, name="watched")
    path = f"{PATH}/{key['id']}"
    admin.patch(path, {"name": "renamed"})
    admin.post(f"{path}/disable")
    admin.post(f"{path}/enable")
    new = admin.post(f"{path}/regenerate", {}).json()
    admin.delete(path)

    rows = truth.rows(server, "SELECT action, actor_kind, actor_id, before_json, after_json "
                              "FROM audit_log WHERE target_id = ? ORDER BY seq", key["id"])

    assert [r[0] for r in rows] == [f"api_key.{a}" for a in (
        "create", "update", "disable", "enable", "regenerate", "delete")]
    assert {(r[1], r[2]) for r in rows} == {("key", admin.token_id)}
    assert json.loads(rows[1][3])["name"] == "watched"
    assert json.loads(rows[1][4])["name"] == "renamed"
    assert rows[0][3] is None and rows[-1][4] is None
    text = str(rows)
    for secret in (key["token"], new["token"]):
        assert secret not in text and hashlib.sha256(secret.encode()).hexdigest() not in text


def test_a_refused_change_leaves_no_audit_row(server, admin):
    key = created(admin)
    admin.patch(f"{PATH}/{key['id']}", {"name": ""})
    admin.patch(f"{PATH}/{key['id']}", {"name": "x"}, headers={"If-Match": '"v1"'})

    assert truth.value(server, "SELECT count(*) FROM audit_log WHERE target_id = ?",
                       key["id"]) == 1

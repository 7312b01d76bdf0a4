"""/v1/webhooks: create, read, change, delete, enable, disable, secrets; who may, what is refused."""

import base64
import re

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.tenants import Tenant

PATH = "/v1/webhooks"
ABSENT = "01890000-0000-7000-8000-000000000000"
MINE = "whsec_" + base64.b64encode(bytes(range(32))).decode()
GOOD_FILTER = [{"path": "data.priority", "op": "in", "value": ["high", "urgent"]},
               {"path": "data.status", "op": "changed"}]


@pytest.fixture(scope="module")
def team(common_server):
    return Tenant(common_server)


@pytest.fixture
def api(server, team):
    return team.api


@pytest.fixture
def url(server):
    """An address that the server may call and that takes no webhooks."""
    return server.url + "/nothing/here"


def create(api, url, **fields):
    reply = api.post(PATH, {"url": url, "events": ["webhook.test"], **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def at(made, *more):
    return "/".join([PATH, made["id"], *more])


def sealed(server, webhook_id):
    return truth.rows(server, "SELECT secret FROM webhook_secret WHERE webhook_id = ? ORDER BY id",
                      webhook_id)


# --- create and read ------------------------------------------------------------------------------


def test_a_webhook_comes_back_as_it_was_given_without_its_secrets(api, url):
    given = {"url": url, "description": "CRM", "events": ["ticket.*", "comment.created"],
             "filter": GOOD_FILTER, "payload": "thin", "ordered": True}

    reply = api.post(PATH, {**given, "headers": {"Authorization": "Bearer abc", "X-Team": "é"}})

    assert reply.status_code == 201, reply.text
    made = reply.json()
    assert {k: made[k] for k in given} == given
    assert made["header_names"] == ["Authorization", "X-Team"]
    assert made["state"] == "enabled" and made["version"] == 1 and made["disabled_reason"] is None
    assert made["public_key"] is None
    assert len(base64.b64decode(made["secret"].removeprefix("whsec_"))) == 32
    assert reply.headers["Location"] == at(made) and reply.headers["ETag"] == '"v1"'
    shown = api.get(at(made))
    assert shown.json() == {k: v for k, v in made.items() if k not in ("secret", "public_key")}
    assert "Bearer abc" not in shown.text
    assert api.get(at(made), headers={"If-None-Match": '"v1"'}).status_code == 304


def test_what_is_not_said_has_a_default(api, url):
    made = create(api, url)

    assert (made["payload"], made["ordered"], made["filter"], made["description"],
            made["header_names"]) == ("full", False, None, None, [])


def test_the_list_is_newest_first_and_filtered(server, url):
    api = Tenant(server).api
    ids = [create(api, f"{url}/{n}", description=f"number {n}")["id"] for n in range(3)]
    api.post(f"{PATH}/{ids[1]}/disable")

    def found(**params):
        reply = api.get(PATH, params=params)
        assert reply.status_code == 200, reply.text
        return [w["id"] for w in reply.json()["data"]]

    assert found() == ids[::-1]
    assert found(state="disabled") == [ids[1]]
    assert found(q="NUMBER 2") == [ids[2]] and found(q="here/0") == [ids[0]]
    page = api.get(PATH, params={"limit": 2}).json()
    rest = api.get(PATH, params={"limit": 2, "cursor": page["next_cursor"]}).json()
    assert [w["id"] for w in page["data"] + rest["data"]] == ids[::-1]
    assert rest["next_cursor"] is None


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("body, field", [
    ({"url": "ftp://example.com/"}, "url"),
    ({"url": "no address"}, "url"),
    ({"url": "http://user:pw@127.0.0.1:8080/"}, "url"),
    ({"url": "http://10.0.0.1/"}, "url"),
    ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
    ({"url": "http://0xa.1/"}, "url"),
    ({"url": "http://no-such-host.invalid/"}, "url"),
    ({"url": "http://127.0.0.1:8080/" + "x" * 2000}, "url"),
    ({"url": None}, "url"),
    ({"events": []}, "events"),
    ({"events": ["ticket.created", "ticket.exploded"]}, "events[1]"),
    ({"events": ["ticket."]}, "events[0]"),
    ({"events": ["tick*"]}, "events[0]"),
    ({"events": ["no_noun.*"]}, "events[0]"),
    ({"events": ["*"] * 51}, "events"),
    ({"events": [1]}, "events"),
    ({"filter": {}}, "filter"),
    ({"filter": [{"path": "data.x", "op": "like", "value": 1}]}, "filter[0].op"),
    ({"filter": [{"path": "x", "op": "exists"}]}, "filter[0].path"),
    ({"filter": [{"path": "data.x", "op": "in", "value": "y"}]}, "filter[0].value"),
    ({"filter": [{"path": "data.x", "op": "exists"}] * 17}, "filter"),
    ({"headers": {"Host": "x"}}, "headers.Host"),
    ({"headers": {"content-length": "1"}}, "headers.content-length"),
    ({"headers": {"Content-Type": "text/plain"}}, "headers.Content-Type"),
    ({"headers": {"Transfer-Encoding": "chunked"}}, "headers.Transfer-Encoding"),
    ({"headers": {"Webhook-Id": "1"}}, "headers.Webhook-Id"),
    ({"headers": {"X Y": "1"}}, "headers.X Y"),
    ({"headers": {"X-A": "1\r\nX-B: 2"}}, "headers.X-A"),
    ({"headers": {"X-A": 1}}, "headers.X-A"),
    ({"headers": {"X-A": ""}}, "headers.X-A"),
    ({"headers": {f"X-{n}": "1" for n in range(21)}}, "headers"),
    ({"headers": {"X-A": "1" * 2001}}, "headers.X-A"),
    ({"payload": "fat"}, "payload"),
    ({"ordered": "yes"}, "ordered"),
    ({"secret": "short"}, "secret"),
    ({"secret": "whsec_YQ=="}, "secret"),
    ({"secret": MINE, "secret_kind": "ed25519"}, "secret_kind"),
    ({"secret_kind": "rsa"}, "secret_kind"),
    ({"state": "disabled"}, "state"),
    ({"description": "x" * 501}, "description"),
])
def test_a_field_that_is_wrong_is_422_and_named(api, url, body, field):
    reply = api.post(PATH, {"url": url, "events": ["*"], **body})

    problem = assert_problem(reply, 422)
    assert field in [e["field"] for e in problem["errors"]], reply.text
    assert MINE not in reply.text


def test_all_problems_are_told_at_once(api, url):
    reply = api.post(PATH, {"url": url, "events": ["x"], "headers": {"Host": "x"},
                            "filter": [{"path": "x", "op": "exists"}]})

    fields = [e["field"] for e in assert_problem(reply, 422)["errors"]]
    assert fields == ["events[0]", "filter[0].path", "headers.Host"]


def test_a_body_that_is_no_json_is_400(api):
    assert_problem(api.request("POST", PATH, data="{", headers={
        "Content-Type": "application/json"}), 400)


@pytest.mark.parametrize("method, more", [
    ("GET", ()), ("PATCH", ()), ("DELETE", ()), ("POST", ("enable",)), ("POST", ("disable",)),
    ("POST", ("test",)), ("GET", ("secrets",)), ("POST", ("secrets",)),
    ("DELETE", ("secrets", ABSENT)), ("GET", ("deliveries",)), ("GET", ("deliveries", ABSENT)),
    ("POST", ("deliveries", ABSENT, "replay")), ("POST", ("replay",)), ("POST", ("recover",)),
])
def test_what_is_absent_is_404_and_no_uuid_is_400(api, method, more):
    body = {} if method != "GET" else None
    if more in (("replay",), ("recover",)):
        body = {"from": "2026-01-01T00:00:00Z"}

    def ask(webhook_id):
        path = "/".join([PATH, webhook_id, *more])
        return api.request(method, path, **({"json": body} if body is not None else {}))

    assert_problem(ask(ABSENT), 404)
    assert_problem(ask("x"), 400)


def test_a_team_has_at_most_100_webhooks(server, url):
    api = Tenant(server).api
    made = create(api, url)
    columns = ("url, events, header_names, payload, is_ordered, state, notice, version, "
               "created_ms, updated_ms")
    team_id = truth.value(server, "SELECT team_id FROM webhook WHERE id = ?", made["id"])
    for n in range(99):
        truth.execute(server, f"INSERT INTO webhook (team_id, id, {columns}) SELECT team_id, ?, "
                              f"{columns} FROM webhook WHERE team_id = ? AND id = ?",
                      f"many-{n}", team_id, made["id"])

    assert_problem(api.post(PATH, {"url": url, "events": ["*"]}), 409)
    assert api.delete(at(made)).status_code == 204
    create(api, url)


# --- who may --------------------------------------------------------------------------------------


def test_only_those_who_manage_webhooks_may(server, team, url):
    made = create(team.api, url)
    weak = team.api_with(["tickets:read", "integrations:write"])
    able = team.api_with(["webhooks:manage"])

    assert_problem(Api(server, None).get(PATH), 401)
    for method, path in (("GET", PATH), ("POST", PATH), ("GET", at(made)), ("PATCH", at(made)),
                         ("DELETE", at(made)), ("GET", "/v1/events"), ("GET", "/v1/event-types"),
                         ("POST", at(made, "secrets")), ("POST", at(made, "test"))):
        assert_problem(weak.request(method, path, json={} if method != "GET" else None), 403)
    assert able.get(at(made)).status_code == 200
    assert able.post(at(made, "disable")).json()["state"] == "disabled"


def test_another_team_sees_nothing(server, team, url):
    made = create(team.api, url)
    other = Tenant(server).api

    assert_problem(other.get(at(made)), 404)
    assert_problem(other.patch(at(made), {"description": "x"}), 404)
    assert_problem(other.delete(at(made)), 404)
    assert made["id"] not in other.get(PATH).text


# --- change ---------------------------------------------------------------------------------------


def test_a_patch_changes_what_is_given_and_null_clears(api, url):
    made = create(api, url, description="d", filter=GOOD_FILTER, ordered=True)

    reply = api.patch(at(made), {"events": ["*"], "description": None, "filter": None})

    assert reply.status_code == 200, reply.text
    now = reply.json()
    assert (now["events"], now["description"], now["filter"], now["ordered"], now["url"]) == (
        ["*"], None, None, True, url)
    assert now["version"] == 2 and reply.headers["ETag"] == '"v2"'
    assert api.get(at(made)).json() == now


def test_headers_are_merged_by_name_and_never_shown(server, api, url):
    made = create(api, url, headers={"X-One": "first", "X-Two": "second"})

    def names(patch):
        reply = api.patch(at(made), {"headers": patch})
        assert reply.status_code == 200, reply.text
        return reply.json()["header_names"]

    assert names({"X-Three": "third"}) == ["X-One", "X-Two", "X-Three"]
    assert names({"x-one": None, "X-TWO": "again"}) == ["X-TWO", "X-Three"]
    assert names({}) == ["X-TWO", "X-Three"]
    assert names(None) == []
    assert truth.value(server, "SELECT headers FROM webhook WHERE id = ?", made["id"]) is None


def test_headers_that_become_too_many_are_422(api, url):
    made = create(api, url, headers={f"X-{n}": "1" for n in range(20)})

    problem = assert_problem(api.patch(at(made), {"headers": {"X-More": "1"}}), 422)

    assert problem["errors"][0]["field"] == "headers"
    assert len(api.get(at(made)).json()["header_names"]) == 20


@pytest.mark.parametrize("patch, field", [
    ({"url": "http://10.0.0.1/"}, "url"), ({"url": None}, "url"), ({"events": ["x"]}, "events[0]"),
    ({"secret": MINE}, "secret"), ({"id": ABSENT}, "id"), ({"headers": {"Host": "x"}}, "headers.Host"),
])
def test_a_patch_is_judged_as_a_new_one_is(api, url, patch, field):
    made = create(api, url)

    problem = assert_problem(api.patch(at(made), patch), 422)

    assert field in [e["field"] for e in problem["errors"]]
    assert api.get(at(made)).json()["version"] == 1


def test_if_match_guards_changes_and_deletion(api, url):
    made = create(api, url)
    api.patch(at(made), {"description": "2"})

    old = {"If-Match": '"v1"'}
    assert_problem(api.patch(at(made), {"description": "3"}, headers=old), 412)
    assert_problem(api.delete(at(made), headers=old), 412)
    assert api.patch(at(made), {"description": "3"}, headers={"If-Match": '"v2"'}).status_code == 200
    assert api.delete(at(made), headers={"If-Match": '"v3"'}).status_code == 204
    assert_problem(api.get(at(made)), 404)


def test_a_deleted_webhook_leaves_no_secret_behind(server, api, url):
    made = create(api, url, headers={"X-A": "1"})

    assert api.delete(at(made)).status_code == 204

    assert sealed(server, made["id"]) == []
    assert truth.value(server, "SELECT headers FROM webhook WHERE id = ?", made["id"]) is None
    assert_problem(api.delete(at(made)), 404)


def test_enabling_and_disabling_are_fine_when_it_is_so_already(api, url):
    made = create(api, url)

    first = api.post(at(made, "disable"))
    assert (first.json()["state"], first.json()["disabled_reason"]) == ("disabled", "manual")
    assert first.headers["ETag"] == '"v2"'
    assert api.post(at(made, "disable")).json() == first.json()
    again = api.post(at(made, "enable")).json()
    assert (again["state"], again["disabled_reason"], again["version"]) == ("enabled", None, 3)
    assert api.post(at(made, "enable")).json() == again


# --- secrets --------------------------------------------------------------------------------------


def secrets_of(api, made):
    reply = api.get(at(made, "secrets"))
    assert reply.status_code == 200, reply.text
    return reply.json()["data"]


def test_a_secret_of_ones_own_is_taken(api, url):
    made = create(api, url, secret=MINE)

    assert made["secret"] == MINE
    (only,) = secrets_of(api, made)
    assert only["kind"] == "hmac" and only["secret"] == {"set": True, "hint": "…" + MINE[-4:]}
    assert only["expires_at"] is None and only["public_key"] is None


def test_of_an_ed25519_key_only_the_public_half_is_shown(server, api, url):
    made = create(api, url, secret_kind="ed25519")

    assert made["secret"] is None
    assert len(base64.b64decode(made["public_key"].removeprefix("whpk_"))) == 32
    (only,) = secrets_of(api, made)
    assert (only["kind"], only["public_key"]) == ("ed25519", made["public_key"])
    assert all(row[0].startswith("v2.") for row in sealed(server, made["id"]))


def test_a_private_key_of_ones_own_gives_its_public_half(api, url):
    # RFC 8032 §7.1, test 1: seed and public key.
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    public = bytes.fromhex("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")

    made = create(api, url, secret="whsk_" + base64.b64encode(seed).decode())

    assert made["public_key"] == "whpk_" + base64.b64encode(public).decode()
    assert made["secret"] is None


def test_a_new_secret_replaces_the_others_after_their_grace(api, url):
    made = create(api, url)

    reply = api.post(at(made, "secrets"), {"grace_s": 3600})

    assert reply.status_code == 201, reply.text
    assert reply.json()["secret"].startswith("whsec_") and reply.json()["secret"] != made["secret"]
    newest, old = secrets_of(api, made)
    assert newest["id"] == reply.json()["id"] and newest["expires_at"] is None
    assert old["expires_at"] is not None and old["secret"]["hint"] == "…" + made["secret"][-4:]
    assert api.get(at(made)).json()["version"] == 2


def test_without_grace_the_old_secret_is_gone_at_once(server, api, url):
    made = create(api, url)

    assert api.post(at(made, "secrets"), {"grace_s": 0, "kind": "ed25519"}).status_code == 201

    assert [s["kind"] for s in secrets_of(api, made)] == ["ed25519"]
    assert len(sealed(server, made["id"])) == 1


def test_a_second_rotation_does_not_prolong_the_first(api, url):
    made = create(api, url)
    api.post(at(made, "secrets"), {"grace_s": 60})
    before = secrets_of(api, made)[1]["expires_at"]

    api.post(at(made, "secrets"), {"grace_s": 3600})

    assert secrets_of(api, made)[2]["expires_at"] == before


def test_at_most_eight_secrets_live(api, url):
    made = create(api, url)
    for _ in range(7):
        assert api.post(at(made, "secrets"), {}).status_code == 201

    assert_problem(api.post(at(made, "secrets"), {}), 409)

    oldest = secrets_of(api, made)[-1]
    assert api.delete(at(made, "secrets", oldest["id"])).status_code == 204
    assert api.post(at(made, "secrets"), {}).status_code == 201
    assert len(secrets_of(api, made)) == 8


def test_the_newest_secret_cannot_be_deleted_the_others_can(api, url):
    made = create(api, url)
    api.post(at(made, "secrets"), {})
    newest, old = secrets_of(api, made)

    assert_problem(api.delete(at(made, "secrets", newest["id"])), 409)
    assert api.delete(at(made, "secrets", old["id"])).status_code == 204
    assert_problem(api.delete(at(made, "secrets", old["id"])), 404)
    assert [s["id"] for s in secrets_of(api, made)] == [newest["id"]]


@pytest.mark.parametrize("body, field", [
    ({"grace_s": 604801}, "grace_s"), ({"grace_s": -1}, "grace_s"), ({"secret": "x"}, "secret"),
    ({"secret": MINE, "kind": "ed25519"}, "kind"), ({"x": 1}, "x"),
])
def test_a_secret_that_is_wrong_is_422_and_named(api, url, body, field):
    made = create(api, url)

    problem = assert_problem(api.post(at(made, "secrets"), body), 422)

    assert [e["field"] for e in problem["errors"]] == [field]
    assert len(secrets_of(api, made)) == 1


def test_without_a_master_key_nothing_secret_is_taken(make_server):
    server = make_server()
    try:
        team = Tenant(server)
        url = server.url + "/nothing"
        made = create(team.api, url)
        server.stop()
        del server.env["TESSERA_MASTER_KEY"]
        server.start()
        for reply in (team.api.post(PATH, {"url": url, "events": ["*"]}),
                      team.api.patch(at(made), {"headers": {"X-A": "1"}}),
                      team.api.post(at(made, "secrets"), {})):
            problem = assert_problem(reply, 409)
            assert problem["code"] == "not_configured" and "master_key" in problem["detail"]
        assert truth.value(server, "SELECT count(*) FROM webhook") == 1
    finally:
        server.close()


# --- the audit log --------------------------------------------------------------------------------


def test_every_change_is_in_the_audit_log_without_secrets(server, url):
    team = Tenant(server)
    api = team.api
    made = create(api, url, headers={"X-Planted": "planted-header-value"})
    api.patch(at(made), {"description": "x"})
    api.post(at(made, "disable"))
    api.post(at(made, "enable"))
    added = api.post(at(made, "secrets"), {}).json()
    api.delete(at(made, "secrets", secrets_of(api, made)[1]["id"]))
    api.post(at(made, "test"), {})
    api.delete(at(made))

    rows = [r for r in team.audit() if r["action"].startswith("webhook.")]

    assert [r["action"] for r in rows] == [
        "webhook.create", "webhook.update", "webhook.disable", "webhook.enable",
        "webhook.secret_add", "webhook.secret_delete", "webhook.test", "webhook.delete"]
    assert {r["target_id"] for r in rows} == {made["id"]}
    assert rows[1]["before"]["description"] is None and rows[1]["after"]["description"] == "x"
    text = repr(rows)
    assert "planted-header-value" not in text
    for secret in (made["secret"], added["secret"]):
        assert secret not in text and secret.removeprefix("whsec_") not in text
    assert re.search(r"'header_names': \['X-Planted'\]", text)

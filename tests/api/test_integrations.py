"""/v1/integrations: create, get, list, merge patch with If-Match, switch, delete, secrets."""

import itertools
import uuid

import pytest
from harness import truth
from harness.client import assert_problem
from harness.senders import KINDS, Sender, listen, secret_of
from harness.tenants import Tenant

ABSENT = "01890000-0000-7000-8000-000000000000"
URL = "/v1/integrations"


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


@pytest.fixture
def made(team):
    reply = team.api.post(URL, {"kind": "github", "name": "Repositories"})
    assert reply.status_code == 201, reply.text
    return reply.json()


# --- the resource --------------------------------------------------------------------------------


def test_create_answers_201_with_location_etag_and_the_address_for_the_sender(team):
    reply = team.api.post(URL, {"kind": "github", "name": "Ours", "event_types": ["issues", "push.*"]})

    assert reply.status_code == 201
    made = reply.json()
    assert (made["kind"], made["name"], made["enabled"]) == ("github", "Ours", True)
    assert made["event_types"] == ["issues", "push.*"] and made["has_secret"] is False
    assert made["hook_url"].endswith(f"/hooks/{made['id']}")
    assert made["await_until"] is None and made["verification_token"] is None
    assert reply.headers["Location"] == f"{URL}/{made['id']}"
    assert reply.headers["ETag"] == '"v1"'
    assert team.api.get(f"{URL}/{made['id']}").json() == made


def test_the_address_begins_with_the_public_url(start_server):
    team = Tenant(start_server({"TESSERA_PUBLIC_URL": "https://desk.example.test/"}))
    made = Sender(team).made
    assert made["hook_url"] == f"https://desk.example.test/hooks/{made['id']}"


@pytest.mark.parametrize("body,code,field", [
    ({"name": "x"}, "missing_required_field", "kind"),
    ({"kind": "github"}, "missing_required_field", "name"),
    ({"kind": "gitlab", "name": "x"}, "invalid_field", "kind"),
    ({"kind": "github", "name": "x" * 201}, "invalid_field", "name"),
    ({"kind": "github", "name": "x", "secret": "s"}, "invalid_field", "secret"),
    ({"kind": "github", "name": "x", "scheme": {}}, "invalid_field", "scheme"),
    ({"kind": "hmac", "name": "x", "scheme": {"prefx": ""}}, "invalid_field", "scheme.prefx"),
    ({"kind": "hmac", "name": "x", "scheme": {"signed": "{time}"}}, "invalid_field",
     "scheme.signed"),
    ({"kind": "hmac", "name": "x", "scheme": {"time_header": "X-T"}}, "invalid_field",
     "scheme.time_header"),
    ({"kind": "github", "name": "x", "event_types": ["a*b"]}, "invalid_field", "event_types"),
    ({"kind": "github", "name": "x", "event_types": ["issues*"]}, "invalid_field", "event_types"),
    ({"kind": "github", "name": "x", "event_types": [""]}, "invalid_field", "event_types"),
    ({"kind": "github", "name": "x", "event_types": ["a"] * 51}, "invalid_field", "event_types"),
    ({"kind": "trello", "name": "x", "callback_url": "ftp://x"}, "invalid_field", "callback_url"),
    ({"kind": "trello", "name": "x", "callback_url": "https://x y"}, "invalid_field",
     "callback_url"),
])
def test_a_bad_field_is_422_and_named(team, body, code, field):
    assert_problem(team.api.post(URL, body), 422, code, [field])


def test_an_unknown_or_anothers_integration_is_404(team, server):
    other = Sender(Tenant(server))
    for one in (ABSENT, other.id):
        for method, tail in (("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/enable"),
                             ("POST", "/disable"), ("POST", "/await-handshake"),
                             ("GET", "/secrets"), ("POST", "/secrets"),
                             ("DELETE", f"/secrets/{ABSENT}"), ("POST", "/replay")):
            body = {} if method in ("PATCH", "POST") and tail not in ("/enable", "/disable") else None
            assert_problem(team.api.request(method, f"{URL}/{one}{tail}", json=body), 404)
    assert_problem(team.api.get(f"{URL}/nonsense"), 400, "invalid_parameter", ["integration_id"])


def test_a_patch_changes_what_it_names_and_null_clears(team, made):
    url = f"{URL}/{made['id']}"
    team.api.patch(url, {"event_types": ["push"], "callback_url": "https://proxy.example/x"})

    reply = team.api.patch(url, {"name": "New", "event_types": None, "callback_url": None})

    assert reply.status_code == 200
    now = reply.json()
    assert (now["name"], now["event_types"], now["callback_url"]) == ("New", [], None)
    assert now["version"] == 3 and now["kind"] == "github"
    assert_problem(team.api.patch(url, {"kind": "jira"}), 422, "invalid_field", ["kind"])
    assert_problem(team.api.patch(url, {"name": ""}), 422)


def test_a_callback_url_is_shown_as_the_address(team, made):
    reply = team.api.patch(f"{URL}/{made['id']}", {"callback_url": "https://proxy.example/x?a=1"})
    assert reply.json()["hook_url"] == "https://proxy.example/x?a=1"


def test_if_match_guards_patch_and_delete(team, made):
    url, old = f"{URL}/{made['id']}", {"If-Match": '"v1"'}
    assert team.api.patch(url, {"name": "two"}, headers=old).status_code == 200
    assert_problem(team.api.patch(url, {"name": "three"}, headers=old), 412)
    assert_problem(team.api.delete(url, headers=old), 412)
    assert team.api.get(url, headers={"If-None-Match": '"v2"'}).status_code == 304
    assert team.api.delete(url, headers={"If-Match": '"v2"'}).status_code == 204


def test_disable_and_enable_may_be_repeated(team, made):
    url = f"{URL}/{made['id']}"
    for verb, enabled in (("disable", False), ("disable", False), ("enable", True), ("enable", True)):
        reply = team.api.post(f"{url}/{verb}")
        assert reply.status_code == 200
        assert reply.json()["enabled"] is enabled
    actions = [r["action"].split(".")[1] for r in team.audit(target_id=made["id"])]
    assert actions == ["create", "disable", "disable", "enable", "enable"]


def test_lists_filter_by_kind_name_and_state(server):
    team = Tenant(server)
    made = {kind: Sender(team, kind, secret="").id for kind in ("github", "slack", "jira")}
    team.api.post(f"{URL}/{made['jira']}/disable")

    def ids(**params):
        return [i["id"] for i in team.api.get(URL, params=params).json()["data"]]
    assert ids() == list(made.values())
    assert ids(kind="slack,jira") == [made["slack"], made["jira"]]
    assert ids(enabled="false") == [made["jira"]]
    assert ids(q="A GIT") == [made["github"]]
    first = team.api.get(URL, params={"limit": 2}).json()
    assert ids(cursor=first["next_cursor"], limit=2) == [made["jira"]]
    assert_problem(team.api.get(URL, params={"kind": "x"}), 400, "invalid_parameter", ["kind"])


def test_a_deleted_one_is_gone_with_its_secrets(team):
    sender = Sender(team)
    assert team.api.delete(sender.url).status_code == 204
    assert_problem(team.api.get(sender.url), 404)
    assert_problem(team.api.delete(sender.url), 404)
    assert truth.value(team.server, "SELECT count(*) FROM integration_secret WHERE "
                       "integration_id = ?", sender.id) == 0
    assert sender.id not in [i["id"] for i in team.api.get(URL, params={"limit": 200}).json()["data"]]


def test_scopes_tell_reading_from_writing(team, made):
    reader, writer = team.api_with(["integrations:read"]), team.api_with(["integrations:write"])
    url = f"{URL}/{made['id']}"
    assert reader.get(url).status_code == 200 and reader.get(f"{url}/secrets").status_code == 200
    for method, path, body in (("POST", URL, {"kind": "jira", "name": "x"}), ("DELETE", url, None),
                               ("PATCH", url, {"name": "x"}), ("POST", f"{url}/secrets", {}),
                               ("POST", f"{url}/disable", None), ("POST", f"{url}/replay", {})):
        assert_problem(reader.request(method, path, json=body), 403, "insufficient_scope")
    assert writer.patch(url, {"name": "x"}).status_code == 200
    assert_problem(writer.get(url), 403, "insufficient_scope")


def test_more_than_a_thousand_are_409(fresh_server):
    team = Tenant(fresh_server)
    made = Sender(team, secret="")
    columns = "team_id, kind, name, event_types, is_enabled, version, created_ms, updated_ms"
    ids = " UNION ALL ".join(f"SELECT '01890000-0000-7000-8000-{n:012}' AS id" for n in range(333))
    for digit in "123":
        truth.execute(fresh_server, f"INSERT INTO integration (id, {columns}) SELECT replace(n.id, "
                      f"'8000', '800{digit}'), {columns} FROM integration i, ({ids}) n WHERE "
                      "i.id = ?", made.id)
    assert truth.value(fresh_server, "SELECT count(*) FROM integration") == 1000
    assert_problem(team.api.post(URL, {"kind": "jira", "name": "x"}), 409, "conflict")


# --- secrets -------------------------------------------------------------------------------------


def test_a_given_secret_is_not_shown_again(team, made):
    reply = team.api.post(f"{URL}/{made['id']}/secrets", {"secret": "a-secret-that-is-long-1234"})

    assert reply.status_code == 201
    added = reply.json()
    assert added["secret"] is None and added["set"] is True and added["hint"] == "…1234"
    listed = team.api.get(f"{URL}/{made['id']}/secrets")
    assert [s["id"] for s in listed.json()["data"]] == [added["id"]]
    assert "a-secret-that-is" not in listed.text
    assert team.api.get(f"{URL}/{made['id']}").json()["has_secret"] is True


def test_a_short_secret_has_no_hint(team, made):
    reply = team.api.post(f"{URL}/{made['id']}/secrets", {"secret": "12345678"})
    assert reply.json()["hint"] == "…"


@pytest.mark.parametrize("kind", KINDS)
def test_a_secret_is_made_where_the_sender_takes_one(team, kind):
    sender = Sender(team, kind, secret="")
    reply = team.api.post(sender.url + "/secrets", {})
    if kind in ("slack", "trello", "asana", "linear", "notion"):
        assert_problem(reply, 422, "missing_required_field", ["secret"])
        return
    assert reply.status_code == 201, reply.text
    secret = reply.json()["secret"]
    assert secret.startswith({"standard": "whsec_", "basic": "tessera:"}.get(kind, ""))
    assert len(secret) >= 40
    assert sender.send(secret=secret).status_code in (200, 202)


@pytest.mark.parametrize("kind,secret", [("github", "short"), ("github", "x" * 513),
                                         ("basic", "no-colon-here"), ("standard", "whsec_!!"),
                                         ("github", "two\nlines are not one")])
def test_a_secret_that_cannot_be_one_is_422(team, kind, secret):
    sender = Sender(team, kind, secret="")
    reply = team.api.post(sender.url + "/secrets", {"secret": secret})
    assert_problem(reply, 422, "invalid_field", ["secret"])
    assert secret not in reply.text


def test_a_ninth_live_secret_is_409_and_a_removed_one_makes_room(team):
    sender = Sender(team, secret="")
    ids = [sender.add_secret(f"secret number {n} of eight")["id"] for n in range(8)]
    reply = team.api.post(sender.url + "/secrets", {})
    assert_problem(reply, 409, "conflict")
    assert team.api.delete(f"{sender.url}/secrets/{ids[0]}").status_code == 204
    assert_problem(team.api.delete(f"{sender.url}/secrets/{ids[0]}"), 404)
    assert_problem(team.api.delete(f"{sender.url}/secrets/x"), 400, "invalid_parameter")
    assert team.api.post(sender.url + "/secrets", {}).status_code == 201


def test_every_change_is_in_the_audit_log_without_the_secret(server):
    team = Tenant(server)
    sender = Sender(team)
    second = sender.add_secret("another secret for the audit")
    team.api.delete(f"{sender.url}/secrets/{second['id']}")
    team.api.patch(sender.url, {"name": "renamed"})
    team.api.delete(sender.url)

    rows = team.audit(target_id=sender.id)
    assert [r["action"] for r in rows] == [
        "integration.create", "integration.secret_add", "integration.secret_add",
        "integration.secret_remove", "integration.update", "integration.delete"]
    assert secret_of("github") not in repr(rows) and "another secret" not in repr(rows)


def test_changes_are_events_for_webhooks(server):
    team = Tenant(server)
    listen(team)
    sender = Sender(team, secret="")
    team.api.patch(sender.url, {"name": "renamed"})
    team.api.delete(sender.url)

    assert [t for t, in truth.rows(server, "SELECT type FROM event WHERE team_id = ? AND "
                                   "subject_id = ? ORDER BY seq", team.id, sender.id)] == \
        ["integration.created", "integration.updated", "integration.deleted"]


def test_without_a_master_key_no_secret_is_kept(start_server):
    server = start_server(start=False)
    del server.env["TESSERA_MASTER_KEY"]
    team = Tenant(server.start())
    sender = Sender(team, secret="")
    reply = team.api.post(sender.url + "/secrets", {})
    assert_problem(reply, 409, "not_configured")
    assert sender.read()["has_secret"] is False


def test_ids_of_integrations_hold_nothing_to_guess_from(team):
    ids = [uuid.UUID(Sender(team, secret="").id) for _ in range(3)]
    assert all(i.version == 7 for i in ids)
    tails = [i.int & (2**62 - 1) for i in ids]
    assert all(abs(a - b) > 2**32 for a, b in itertools.combinations(tails, 2))

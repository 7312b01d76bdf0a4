"""/v1/teams and `tessera team`: whose they are, who may change them, when they can be deleted."""

import contextlib
import re
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from harness.client import Api, assert_problem
from harness.outside import SECRET, TEAM_DEFAULT, outsider, settings
from harness.server import Refused

ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def team_server(make_server):
    made = make_server(env=settings(secret=SECRET))
    yield made
    made.close()


@pytest.fixture(scope="module")
def ada(team_server):
    """A viewer of the default team."""
    return outsider(team_server, "viewer")


@pytest.fixture(scope="module")
def bob(team_server):
    return outsider(team_server, "agent")


def new_slug():
    return "t-" + uuid.uuid4().hex[:12]


def create(who, **fields):
    """A new team of this user."""
    reply = who.post("/v1/teams", {"name": "A team", "slug": new_slug(), **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def acting_in(team):
    return {"Tessera-Team": team["id"]}


# --- create and list -----------------------------------------------------------------------------


def test_who_creates_a_team_owns_it(ada):
    slug = new_slug()

    reply = ada.post("/v1/teams", {"name": "Customer Care", "slug": slug})

    made = reply.json()
    assert reply.status_code == 201 and reply.headers["ETag"] == '"v1"'
    assert (made["name"], made["slug"], made["role"]) == ("Customer Care", slug, "owner")
    assert reply.headers["Location"].endswith(f"/v1/teams/{made['id']}")
    assert ada.get(f"/v1/teams/{made['id']}", headers=acting_in(made)).json() == made
    assert ada.get(f"/v1/teams/{made['id']}", headers={"Tessera-Team": slug}).json() == made
    mine = {t["id"]: t["role"] for t in ada.get("/v1/teams?limit=200").json()["data"]}
    assert mine[made["id"]] == "owner" and mine[TEAM_DEFAULT] == "viewer"


def test_teams_of_others_are_neither_listed_nor_reached(ada, bob):
    theirs = create(ada)

    assert theirs["id"] not in [t["id"] for t in bob.get("/v1/teams?limit=200").json()["data"]]
    assert_problem(bob.get(f"/v1/teams/{theirs['id']}"), 404, "not_found")
    assert_problem(bob.get(f"/v1/teams/{theirs['id']}", headers=acting_in(theirs)), 404,
                   "not_found")


def test_a_slug_is_made_from_the_name_and_stays_unique(ada):
    name = f"Käse & Brot GmbH {uuid.uuid4().hex[:6]}"

    one, two = (ada.post("/v1/teams", {"name": name}).json() for _ in range(2))

    assert re.fullmatch(r"k-se-brot-gmbh-[0-9a-f]{6}", one["slug"])
    assert two["slug"].startswith(one["slug"]) and two["slug"] != one["slug"]
    assert re.fullmatch(r"team-[0-9a-f]{6}", ada.post("/v1/teams", {"name": "!"}).json()["slug"])


def test_a_used_slug_is_409(ada, bob):
    slug = create(ada)["slug"]

    problem = assert_problem(bob.post("/v1/teams", {"name": "x", "slug": slug}), 409,
                             "already_exists")
    assert slug in problem["detail"]


@pytest.mark.parametrize("slug", ["a", "-ab", "ab-", "Ab", "a b", "ä-b", "a" * 41, ABSENT])
def test_a_malformed_slug_is_named(ada, slug):
    assert_problem(ada.post("/v1/teams", {"name": "x", "slug": slug}), 422, "invalid_field",
                   fields=["slug"])


def test_a_missing_name_and_unknown_fields_are_named(ada):
    assert_problem(ada.post("/v1/teams", {}), 422, "missing_required_field", fields=["name"])
    assert_problem(ada.post("/v1/teams", {"name": "x", "owner": "me"}), 422, fields=["owner"])
    assert_problem(ada.post_raw("/v1/teams", b"["), 400, "invalid_json")


def test_the_list_is_paged(team_server):
    who = outsider(team_server, "viewer")
    made = [create(who)["id"] for _ in range(3)]

    found, cursor = [], None
    for _ in range(2):
        page = who.get("/v1/teams", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += [t["id"] for t in page.json()["data"]]
        cursor = page.json()["next_cursor"]

    assert cursor is None and found == [TEAM_DEFAULT, *made]
    assert_problem(who.get("/v1/teams?limit=0"), 400, "invalid_parameter", fields=["limit"])


def test_a_key_sees_its_own_team_and_makes_none(team_server):
    made = team_server.new_token(scopes=["tickets:read"])
    key = Api(team_server, made["token"])

    assert [(t["id"], t["role"]) for t in key.get("/v1/teams").json()["data"]] == [
        (TEAM_DEFAULT, None)]
    assert_problem(key.post("/v1/teams", {"name": "x"}), 403, "user_required")
    assert_problem(key.get(f"/v1/teams/{TEAM_DEFAULT}"), 403, "insufficient_scope")


def test_a_key_may_name_its_own_team_and_no_other(team_server, ada):
    other = create(ada)
    key = Api(team_server, team_server.new_token(scopes=["tickets:read"])["token"])

    def status(team):
        return key.get("/v1/tickets", headers={"Tessera-Team": team}).status_code

    assert [status(t) for t in (TEAM_DEFAULT, "default", "")] == [200, 200, 200]
    for team in (other["id"], other["slug"], "Default", "x" * 5000, "' OR 1=1 --", b"\xff\xfe",
                 b"\xed\xa0\x80"):
        reply = key.get("/v1/tickets", headers={"Tessera-Team": team})
        assert_problem(reply, 404, "not_found")


def test_a_team_that_is_sent_twice_with_one_key_is_made_once(team_server):
    who = outsider(team_server, "viewer")
    first = {"Idempotency-Key": uuid.uuid4().hex}       # in one team, then in two, none is named
    second = {"Idempotency-Key": uuid.uuid4().hex}

    for key in (first, second):
        body = {"name": "Once", "slug": new_slug()}
        made = [who.post("/v1/teams", body, headers=key) for _ in range(2)]
        named = who.post("/v1/teams", body, headers={**key, "Tessera-Team": body["slug"]})
        assert [r.status_code for r in (*made, named)] == [201] * 3
        assert len({r.json()["id"] for r in (*made, named)}) == 1
        assert named.headers["Idempotency-Replayed"] == "true"
    assert_problem(who.post("/v1/teams", {"name": "Other"}, headers=second), 422,
                   "idempotency_key_reused")
    assert len(who.get("/v1/teams").json()["data"]) == 3


def test_an_idempotency_key_is_the_users_own(team_server):
    ann, bob = outsider(team_server, "viewer"), outsider(team_server, "viewer")
    key = {"Idempotency-Key": uuid.uuid4().hex}

    made = [who.post("/v1/teams", {"name": "Same"}, headers=key) for who in (ann, bob)]

    assert [r.status_code for r in made] == [201, 201]
    assert made[0].json()["id"] != made[1].json()["id"]


def test_without_a_token_it_is_401(team_server):
    nobody = Api(team_server)
    for method, path in (("GET", "/v1/teams"), ("POST", "/v1/teams"),
                         ("GET", f"/v1/teams/{TEAM_DEFAULT}"),
                         ("PATCH", f"/v1/teams/{TEAM_DEFAULT}"),
                         ("DELETE", f"/v1/teams/{TEAM_DEFAULT}")):
        body = {"json": {"name": "x"}} if method in ("POST", "PATCH") else {}
        assert_problem(nobody.request(method, path, **body), 401, "missing_token")


# --- get, change ---------------------------------------------------------------------------------


def test_an_admin_key_reads_and_changes_its_team(team_server):
    made = team_server.new_token(scopes=["admin:full"])
    key = Api(team_server, made["token"])
    path = f"/v1/teams/{TEAM_DEFAULT}"
    before = key.get(path).json()

    after = key.patch(path, {"name": "Everyone"}).json()

    assert after == {**before, "name": "Everyone", "version": before["version"] + 1,
                     "updated_at": after["updated_at"]}
    assert key.get(path, headers={"If-None-Match": f'"v{after["version"]}"'}).status_code == 304
    assert_problem(key.get(f"/v1/teams/{ABSENT}"), 404, "not_found")
    assert_problem(key.get("/v1/teams/default"), 400, "invalid_parameter", fields=["team_id"])


def test_patch_is_for_admins_and_guarded_by_if_match(ada):
    team = create(ada)
    path, there = f"/v1/teams/{team['id']}", acting_in(team)

    after = ada.patch(path, {"name": "New", "slug": team["slug"] + "-2"}, headers=there)

    assert after.status_code == 200 and after.headers["ETag"] == '"v2"'
    assert (after.json()["name"], after.json()["slug"]) == ("New", team["slug"] + "-2")
    assert_problem(ada.patch(path, {"name": "x"}, headers={**there, "If-Match": '"v1"'}), 412)
    assert_problem(ada.patch(path, {"slug": "default"}, headers=there), 409, "already_exists")
    assert_problem(ada.patch(path, {"slug": "UP"}, headers=there), 422, fields=["slug"])
    assert_problem(ada.patch(path, {"slug": None}, headers=there), 422, fields=["slug"])
    viewer = ada.patch(f"/v1/teams/{TEAM_DEFAULT}", {"name": "x"},
                       headers={"Tessera-Team": "default"})
    assert_problem(viewer, 403, "insufficient_role")


# --- delete --------------------------------------------------------------------------------------


def test_an_empty_team_is_deleted_and_its_slug_is_free(ada):
    team = create(ada)
    path, there = f"/v1/teams/{team['id']}", acting_in(team)

    assert ada.delete(path, headers=there).status_code == 204

    assert_problem(ada.get(path, headers=there), 404, "not_found")
    assert team["id"] not in [t["id"] for t in ada.get("/v1/teams?limit=200").json()["data"]]
    assert create(ada, slug=team["slug"])["slug"] == team["slug"]


def test_a_team_with_tickets_is_not_deleted(ada):
    team = create(ada)
    path, there = f"/v1/teams/{team['id']}", acting_in(team)
    ticket = ada.post("/v1/tickets", {"title": "x"}, headers=there).json()

    problem = assert_problem(ada.delete(path, headers=there), 409, "conflict")
    assert "tickets" in problem["detail"]

    assert ada.delete(f"/v1/tickets/{ticket['id']}", headers=there).status_code == 204
    assert_problem(ada.delete(path, headers={**there, "If-Match": '"v9"'}), 412)
    assert ada.delete(path, headers=there).status_code == 204


@pytest.mark.parametrize("noun, path, body", [
    ("API keys", "/v1/api-keys", {"name": "x"}), ("contacts", "/v1/contacts", {"name": "x"}),
    ("agents", "/v1/agents", {"name": "x", "kind": "bot"})])
def test_a_team_with_keys_contacts_or_agents_is_not_deleted(ada, noun, path, body):
    team = create(ada)
    there = acting_in(team)
    made = ada.post(path, body, headers=there)
    assert made.status_code == 201, made.text

    problem = assert_problem(ada.delete(f"/v1/teams/{team['id']}", headers=there), 409, "conflict")

    assert noun in problem["detail"]
    assert ada.get(f"/v1/teams/{team['id']}", headers=there).status_code == 200


def test_the_default_team_is_never_deleted(team_server):
    owner = outsider(team_server, "owner")

    problem = assert_problem(owner.delete(f"/v1/teams/{TEAM_DEFAULT}"), 409, "conflict")
    assert "default" in problem["detail"]


def test_only_owners_delete(team_server):
    admin = outsider(team_server, "admin")

    assert_problem(admin.delete(f"/v1/teams/{TEAM_DEFAULT}"), 403, "insufficient_role")


# --- projects of two teams -----------------------------------------------------------------------


def test_projects_of_another_team_are_404_and_keys_do_not_clash(ada):
    one, two = create(ada), create(ada)
    fields = {"key": "SAME", "name": "x"}
    first = ada.post("/v1/projects", fields, headers=acting_in(one)).json()
    second = ada.post("/v1/projects", fields, headers=acting_in(two))

    assert second.status_code == 201
    path = f"/v1/projects/{first['id']}"
    for method in ("GET", "PATCH", "DELETE"):
        body = {"json": {"name": "y"}} if method == "PATCH" else {}
        assert_problem(ada.request(method, path, headers=acting_in(two), **body), 404, "not_found")
    listed = ada.get("/v1/projects", headers=acting_in(two)).json()["data"]
    assert [p["id"] for p in listed] == [second.json()["id"]]
    assert ada.get(path, headers=acting_in(one)).json() == first


# --- the audit log -------------------------------------------------------------------------------


def test_every_change_of_a_team_is_in_its_audit_log(ada):
    team = create(ada)
    there = acting_in(team)
    after = ada.patch(f"/v1/teams/{team['id']}", {"name": "New"}, headers=there).json()

    log = ada.get("/v1/audit", headers=there).json()["data"]

    rows = {row["action"]: row for row in log}
    assert set(rows) == {"team.create", "team.update"}
    assert (rows["team.create"]["before"], rows["team.create"]["after"]) == (None, team)
    assert (rows["team.update"]["before"], rows["team.update"]["after"]) == (team, after)


# --- the command line ----------------------------------------------------------------------------


def test_the_command_line_makes_and_lists_teams(team_server):
    who, slug = outsider(team_server, "viewer"), new_slug()

    made = team_server.cli_json("team", "create", "From the shell", "--slug", slug, "--owner",
                                who.email.upper())

    assert (made["name"], made["slug"], made["role"]) == ("From the shell", slug, "owner")
    assert {t["id"]: t["role"] for t in who.get("/v1/teams").json()["data"]}[made["id"]] == "owner"
    assert slug in [t["slug"] for t in team_server.cli_json("team", "list")]
    assert slug in team_server.cli("team", "list")


def test_the_command_line_refuses_what_the_api_refuses(team_server):
    def refused(*args):
        with pytest.raises(Refused) as e:
            team_server.cli("team", "create", *args)
        return e.value.returncode, e.value.stderr

    assert refused("x", "--slug", "default")[0] == 1
    assert "slug" in refused("x", "--slug", "UP")[1]
    assert "no active user" in refused("x", "--owner", "nobody@example.com")[1]
    assert refused(" ")[0] == 2
    assert refused()[0] == 2


def test_the_default_team_is_as_old_as_the_database(make_server):
    began = datetime.now(timezone.utc) - timedelta(seconds=1)
    with contextlib.closing(make_server(start=False)) as server:
        [team] = server.cli_json("team", "list")
    assert began < datetime.fromisoformat(team["created_at"]) <= datetime.fromisoformat(
        team["updated_at"])

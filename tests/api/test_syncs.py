"""/v1/syncs: create, get, list, merge patch with If-Match, delete, by itself and with the integration."""

import contextlib
import threading

import pytest
from harness import truth
from harness.client import assert_problem
from harness.syncs import STATE, TITLE, URL, new_integration, new_sync, report
from harness.tenants import Tenant
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


@pytest.fixture(scope="module")
def integration(module_team):
    return new_integration(module_team)


@pytest.fixture
def made(team):
    return new_sync(team)


def at(sync, *more):
    return "/".join([URL, sync["id"], *more])


def pair(local, remote, bidirectional=True, **more):
    return {"local_field": local, "remote_field": remote, "bidirectional": bidirectional, **more}


# --- making and reading ---------------------------------------------------------------------------


def test_a_sync_comes_back_as_it_was_given(team, integration):
    given = {"integration_id": integration, "name": "Issues", "enabled": False,
             "direction": "bidirectional", "interval_ms": 300000, "field_mappings": [TITLE, STATE],
             "conflict_resolution": "local"}

    reply = team.api.post(URL, given)

    assert reply.status_code == 201, reply.text
    made = reply.json()
    assert {k: made[k] for k in given} == given
    assert made["team_id"] == team.id and made["version"] == 1
    assert made["last_run_at"] is None and made["last_status"] is None
    assert made["created_at"] == made["updated_at"]
    assert reply.headers["Location"] == at(made) and reply.headers["ETag"] == '"v1"'
    assert team.api.get(at(made)).json() == made
    assert team.api.get(at(made), headers={"If-None-Match": '"v1"'}).status_code == 304


def test_what_is_not_said_has_a_default(team):
    made = new_sync(team, field_mappings=[{k: TITLE[k] for k in TITLE if k != "transformer"}])

    assert made["enabled"] is True and made["interval_ms"] is None
    assert made["conflict_resolution"] == "manual" and made["field_mappings"] == [TITLE]
    assert new_sync(team)["field_mappings"] == []


def test_lists_are_in_order_and_filtered(server):
    team = Tenant(server)
    one, other = new_integration(team), new_integration(team)
    made = [new_sync(team, one), new_sync(team, one, enabled=False), new_sync(team, other)]
    report(team, made[2], "error")
    first, second, third = (s["id"] for s in made)

    def ids(**params):
        reply = team.api.get(URL, params=params)
        assert reply.status_code == 200, reply.text
        return [s["id"] for s in reply.json()["data"]]
    assert ids() == [first, second, third]
    assert ids(integration_id=one) == [first, second] and ids(integration_id=ABSENT) == []
    assert ids(enabled="false") == [second] and ids(enabled="true") == [first, third]
    assert ids(last_status="error,partial") == [third] and ids(last_status="success") == []
    page = team.api.get(URL, params={"limit": 2}).json()
    assert ids(limit=2, cursor=page["next_cursor"]) == [third]


@pytest.mark.parametrize("name,value", [("integration_id", "x"), ("enabled", "perhaps"),
                                        ("last_status", "syncing"), ("cursor", "x"), ("limit", "0")])
def test_a_bad_filter_is_400_and_named(team, name, value):
    assert_problem(team.api.get(URL, params={name: value}), 400, "invalid_parameter", [name])


@pytest.mark.parametrize("body,code,field", [
    ({"name": None}, "missing_required_field", "name"),
    ({"name": " "}, "missing_required_field", "name"),
    ({"name": "x" * 201}, "invalid_field", "name"),
    ({"direction": None}, "missing_required_field", "direction"),
    ({"direction": "import"}, "invalid_field", "direction"),
    ({"integration_id": None}, "missing_required_field", "integration_id"),
    ({"integration_id": "x"}, "invalid_field", "integration_id"),
    ({"integration_id": ABSENT}, "invalid_field", "integration_id"),
    ({"interval_ms": 59999}, "invalid_field", "interval_ms"),
    ({"interval_ms": 30 * DAY_MS + 1}, "invalid_field", "interval_ms"),
    ({"interval_ms": 60000.5}, "invalid_field", "interval_ms"),
    ({"interval_ms": "hourly"}, "invalid_field", "interval_ms"),
    ({"conflict_resolution": "newest"}, "invalid_field", "conflict_resolution"),
    ({"enabled": "yes"}, "invalid_field", "enabled"),
    ({"last_status": "success"}, "invalid_field", "last_status"),
    ({"field_mappings": {}}, "invalid_field", "field_mappings"),
    ({"field_mappings": [1]}, "invalid_field", "field_mappings[0]"),
    ({"field_mappings": [TITLE, {"local_field": "x", "bidirectional": True}]},
     "missing_required_field", "field_mappings[1].remote_field"),
    ({"field_mappings": [{"local_field": "x", "remote_field": "y"}]}, "missing_required_field",
     "field_mappings[0].bidirectional"),
    ({"field_mappings": [pair("x", "y", format="z")]}, "invalid_field", "field_mappings[0].format"),
    ({"field_mappings": [pair("x" * 201, "y")]}, "invalid_field", "field_mappings[0].local_field"),
    ({"field_mappings": [pair("x\ny", "y")]}, "invalid_field", "field_mappings[0].local_field"),
    ({"field_mappings": [pair("x", "y", transformer="z" * 2001)]}, "invalid_field",
     "field_mappings[0].transformer"),
    ({"field_mappings": [pair(f"f{n}", "y") for n in range(101)]}, "invalid_field",
     "field_mappings"),
    ({"field_mappings": [pair(f"f{n}", "y", transformer="z" * 2000) for n in range(40)]},
     "invalid_field", "field_mappings"),
])
def test_a_field_that_is_wrong_is_422_and_named(team, integration, body, code, field):
    body = {"integration_id": integration, "name": "x", "direction": "pull", **body}
    assert_problem(team.api.post(URL, body), 422, code, [field])


def test_the_bounds_themselves_are_taken(team, integration):
    for interval in (60000, 30 * DAY_MS):
        assert new_sync(team, integration, interval_ms=interval)["interval_ms"] == interval
    many = [pair("x" * 190 + str(n), f"y{n}") for n in range(100)]
    assert len(new_sync(team, integration, field_mappings=many)["field_mappings"]) == 100


@pytest.mark.parametrize("direction,mappings,field", [
    ("pull", [pair("a", "x"), pair("b", "x")], None),
    ("pull", [pair("a", "x"), pair("b", "y"), pair("a", "z")], "field_mappings[2].local_field"),
    ("push", [pair("a", "x"), pair("a", "y")], None),
    ("push", [pair("a", "x"), pair("b", "x")], "field_mappings[1].remote_field"),
    ("bidirectional", [pair("a", "x"), pair("a", "y")], "field_mappings[1].local_field"),
    ("bidirectional", [pair("a", "x"), pair("b", "x")], "field_mappings[1].remote_field"),
    ("bidirectional", [pair("a", "x"), pair("b", "x", False)], None),
    ("pull", [pair("a", "x"), pair("a", "x")], "field_mappings[1].local_field"),
])
def test_no_field_is_written_by_two_mappings(team, integration, direction, mappings, field):
    reply = team.api.post(URL, {"integration_id": integration, "name": "x", "direction": direction,
                                "field_mappings": mappings})
    if field:
        assert_problem(reply, 422, "invalid_field", [field])
    else:
        assert reply.status_code == 201, reply.text


def test_another_direction_asks_anew_whether_the_mappings_stand_together(team):
    made = new_sync(team, field_mappings=[pair("a", "x"), pair("b", "x")])
    assert_problem(team.api.patch(at(made), {"direction": "push"}), 422, "invalid_field",
                   ["field_mappings[1].remote_field"])
    both = {"direction": "push", "field_mappings": [pair("a", "x")]}
    assert team.api.patch(at(made), both).status_code == 200


def test_an_integration_of_another_team_or_one_that_is_gone_is_422(team, server):
    theirs = new_integration(Tenant(server))
    mine = new_integration(team)
    team.api.delete(f"/v1/integrations/{mine}")
    for one in (theirs, mine):
        reply = team.api.post(URL, {"integration_id": one, "name": "x", "direction": "pull"})
        assert_problem(reply, 422, "invalid_field", ["integration_id"])


def test_an_unknown_or_anothers_sync_is_404(team, server):
    other = new_sync(Tenant(server))
    for one in (ABSENT, other["id"]):
        for method, tail, body in (("GET", "", None), ("PATCH", "", {}), ("DELETE", "", None),
                                   ("GET", "/runs", None), ("POST", "/runs", {"status": "error"}),
                                   ("GET", f"/runs/{ABSENT}", None)):
            assert_problem(team.api.request(method, f"{URL}/{one}{tail}", json=body), 404)
    for method in ("GET", "PATCH", "DELETE"):
        reply = team.api.request(method, f"{URL}/x", json={} if method == "PATCH" else None)
        assert_problem(reply, 400, "invalid_parameter", ["sync_id"])


# --- changing -------------------------------------------------------------------------------------


def test_a_patch_changes_what_it_names_and_null_clears(team):
    made = new_sync(team, interval_ms=60000, field_mappings=[TITLE, STATE])

    reply = team.api.patch(at(made), {"name": "New", "interval_ms": None, "enabled": False,
                                      "field_mappings": [STATE], "direction": "push",
                                      "conflict_resolution": "remote"})

    assert reply.status_code == 200, reply.text
    now = reply.json()
    assert (now["name"], now["interval_ms"], now["enabled"]) == ("New", None, False)
    assert (now["field_mappings"], now["direction"]) == ([STATE], "push")
    assert now["conflict_resolution"] == "remote" and now["version"] == 2
    assert now["created_at"] == made["created_at"]
    assert team.api.patch(at(made), {}).json()["field_mappings"] == [STATE]


@pytest.mark.parametrize("body,field", [
    ({"integration_id": ABSENT}, "integration_id"), ({"name": None}, "name"),
    ({"name": ""}, "name"), ({"field_mappings": None}, "field_mappings"),
    ({"direction": None}, "direction"), ({"interval_ms": 1}, "interval_ms"),
    ({"field_mappings": [{"local_field": "x"}]}, "field_mappings[0].remote_field"),
])
def test_a_patch_that_is_wrong_is_422_and_changes_nothing(team, made, body, field):
    problem = assert_problem(team.api.patch(at(made), body), 422)
    assert field in [e["field"] for e in problem["errors"]]
    assert team.api.get(at(made)).json() == made


def test_if_match_guards_patch_and_delete(team, made):
    old = {"If-Match": '"v1"'}
    assert team.api.patch(at(made), {"name": "two"}, headers=old).status_code == 200
    assert_problem(team.api.patch(at(made), {"name": "three"}, headers=old), 412)
    assert_problem(team.api.delete(at(made), headers=old), 412)
    assert_problem(team.api.delete(at(made), headers={"If-Match": '"v3"'}), 412)
    assert team.api.delete(at(made), headers={"If-Match": '"v2"'}).status_code == 204


def test_a_run_changes_the_etag_and_stands_in_nobodys_way(team, made):
    report(team, made)

    reply = team.api.get(at(made), headers={"If-None-Match": '"v1"'})
    assert reply.status_code == 200 and reply.headers["ETag"] == '"v2"'
    assert reply.json()["last_status"] == "success"
    changed = team.api.patch(at(made), {"name": "two"}, headers={"If-Match": '"v1"'})
    assert changed.status_code == 200 and changed.headers["ETag"] == '"v3"'
    assert_problem(team.api.patch(at(made), {"name": "x"}, headers={"If-Match": '"v2"'}), 412)


def test_scopes_tell_reading_from_writing(team, made):
    reader, writer = team.api_with(["integrations:read"]), team.api_with(["integrations:write"])
    run = report(team, made)
    for path in (URL, at(made), at(made, "runs"), at(made, "runs", run["id"])):
        assert reader.get(path).status_code == 200
        assert_problem(writer.get(path), 403, "insufficient_scope")
    for method, path, body in (("POST", URL, {"integration_id": made["integration_id"],
                                              "name": "x", "direction": "pull"}),
                               ("PATCH", at(made), {"name": "x"}), ("DELETE", at(made), None),
                               ("POST", at(made, "runs"), {"status": "success"})):
        assert_problem(reader.request(method, path, json=body), 403, "insufficient_scope")
    assert writer.patch(at(made), {"name": "x"}).status_code == 200
    assert writer.post(at(made, "runs"), {"status": "success"}).status_code == 201


# --- deleting -------------------------------------------------------------------------------------


def test_a_deleted_sync_is_gone_with_its_runs(team, made):
    run = report(team, made)
    assert team.api.delete(at(made)).status_code == 204
    for method, tail, body in (("GET", (), None), ("DELETE", (), None), ("GET", ("runs",), None),
                               ("GET", ("runs", run["id"]), None),
                               ("POST", ("runs",), {"status": "success"})):
        assert_problem(team.api.request(method, at(made, *tail), json=body), 404)
    listed = team.api.get(URL, params={"integration_id": made["integration_id"]}).json()["data"]
    assert listed == []


def test_an_integration_takes_its_syncs_with_it_and_no_others(server):
    team = Tenant(server)
    gone = new_integration(team)
    syncs = [new_sync(team, gone), new_sync(team, gone)]
    kept = new_sync(team)

    assert team.api.delete(f"/v1/integrations/{gone}").status_code == 204

    assert [s["id"] for s in team.api.get(URL).json()["data"]] == [kept["id"]]
    for one in syncs:
        assert_problem(team.api.get(at(one)), 404)
        assert [r["action"] for r in team.audit(target_id=one["id"])] == ["sync.create",
                                                                          "sync.delete"]


def test_every_change_is_in_the_audit_log(server):
    team = Tenant(server)
    made = new_sync(team)
    team.api.patch(at(made), {"name": "renamed"})
    report(team, made)
    team.api.delete(at(made))

    rows = team.audit(target_id=made["id"])
    assert [r["action"] for r in rows] == ["sync.create", "sync.update", "sync.delete"]
    assert {r["target_type"] for r in rows} == {"sync"}
    assert (rows[1]["before"]["name"], rows[1]["after"]["name"]) == ("Issues", "renamed")


def fill(server, like, n, of_new_integrations=False):
    """n more rows like this one, in its integration or in integrations that are not there."""
    columns = ("name, is_enabled, direction, field_mappings, conflict_resolution, version, "
               "config_version, created_ms, updated_ms")
    ids = " UNION ALL ".join(f"SELECT '01890000-0000-7000-8000-{k:012}' AS id" for k in range(n))
    of = "n.id" if of_new_integrations else "s.integration_id"
    truth.execute(server, f"INSERT INTO sync (team_id, id, integration_id, {columns}) SELECT "
                          f"s.team_id, n.id, {of}, {columns} FROM sync s, ({ids}) n WHERE s.id = ?",
                  like["id"])


def test_more_than_a_hundred_of_an_integration_are_409_and_all_go_with_it(fresh_server):
    team = Tenant(fresh_server)
    made = new_sync(team)
    fill(fresh_server, made, 99)
    body = {"integration_id": made["integration_id"], "name": "x", "direction": "pull"}

    assert_problem(team.api.post(URL, body), 409, "conflict")
    new_sync(team)
    assert team.api.delete(f"/v1/integrations/{made['integration_id']}").status_code == 204

    assert truth.value(fresh_server, "SELECT count(*) FROM sync WHERE deleted_ms IS NULL") == 1
    assert len(team.audit(action="sync.delete")) == 100


def test_more_than_a_thousand_of_a_team_are_409(fresh_server):
    team = Tenant(fresh_server)
    made = new_sync(team)
    for part in range(3):
        fill(fresh_server, made, 333, True)
        truth.execute(fresh_server, "UPDATE sync SET id = replace(id, '-8000-', ?) WHERE name = ? "
                                    "AND id < '019'", f"-800{part + 1}-", made["name"])
    assert truth.value(fresh_server, "SELECT count(*) FROM sync") == 1000
    reply = team.api.post(URL, {"integration_id": new_integration(team), "name": "x",
                                "direction": "pull"})
    assert_problem(reply, 409, "conflict")


@pytest.mark.only_backend("postgres")
def test_a_sync_is_not_made_for_an_integration_that_is_being_deleted(server):
    """The create waits for the delete and then finds nothing. SQLite has one writer."""
    team = Tenant(server)
    integration = new_integration(team)
    with contextlib.closing(server.database.connect_admin()) as conn, conn.cursor() as cur:
        cur.execute("BEGIN")
        cur.execute("UPDATE integration SET deleted_ms = 1 WHERE id = %s", (integration,))
        replies = []
        asker = threading.Thread(target=lambda: replies.append(team.api.post(
            URL, {"integration_id": integration, "name": "x", "direction": "pull"})))
        asker.start()
        wait_until(lambda: truth.value(server, "SELECT count(*) FROM pg_locks WHERE NOT granted"),
                   5, "the create waits")
        cur.execute("COMMIT")
        asker.join(10)
    assert_problem(replies[0], 422, "invalid_field", ["integration_id"])

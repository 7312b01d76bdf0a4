"""The audit log: written with each change, readable by owners, and a chain that tells tampering."""

import contextlib
import csv
import io
import json
import sqlite3
import threading

import pytest
from harness.client import Api, assert_problem, contract_of
from harness.server import MASTER_KEY, Refused
from harness.tenants import Tenant, lines, new_project
from harness.wait import wait_until
from harness.world import World, parameters_of, request_for


@pytest.fixture(scope="module")
def module_team(common_server):
    return Tenant(common_server)


@pytest.fixture
def team(server, module_team):
    return module_team


@pytest.fixture
def own_team(server):
    """A team whose log holds nothing but what the test does."""
    return Tenant(server)


@contextlib.contextmanager
def as_superuser(server):
    """A cursor that nothing binds, with the triggers of audit_log gone. The row counts are kept."""
    if server.backend == "postgres":
        conn = server.database.connect_admin()
        off = ["DROP TRIGGER IF EXISTS audit_log_no_change ON audit_log"]
    else:
        conn = sqlite3.connect(server.db_path, timeout=10, isolation_level=None)
        off = ["DROP TRIGGER IF EXISTS audit_log_no_update",
               "DROP TRIGGER IF EXISTS audit_log_no_delete"]
    with contextlib.closing(conn):
        cur = conn.cursor()
        for statement in off:
            cur.execute(statement)
        yield cur


def verify(server, *args):
    """(exit status, the checks by team id) of `tessera audit verify`."""
    done = server.run("audit", "verify", "--json", *args)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, {c["team_id"]: c for c in json.loads(done.stdout)}


def check_of(server, team):
    status, checks = verify(server, "--team", team.slug)
    assert status == (0 if checks[team.id]["intact"] else 1)
    return checks[team.id]


# --- what is written ------------------------------------------------------------------------------


def test_a_change_writes_one_row_that_says_who_where_and_what(own_team):
    before = own_team.audit()
    project = new_project(own_team.api, "Support")
    reply = own_team.api.patch(f"/v1/projects/{project['id']}", {"name": "Help"},
                               headers={"User-Agent": "audit-test/1", "X-Request-Id": "req-4711"})
    assert reply.status_code == 200
    assert own_team.api.delete(f"/v1/projects/{project['id']}").status_code == 204

    made, changed, gone = own_team.audit()[len(before):]
    assert [r["action"] for r in (made, changed, gone)] == ["project.create", "project.update",
                                                            "project.delete"]
    assert made["before"] is None and made["after"]["name"] == "Support"
    assert changed["before"]["name"] == "Support" and changed["after"]["name"] == "Help"
    assert gone["before"]["name"] == "Help" and gone["after"] is None
    for row in (made, changed, gone):
        assert (row["target_type"], row["target_id"]) == ("project", project["id"])
        assert (row["actor_kind"], row["actor_id"]) == ("key", own_team.key["id"])
        assert row["ip"] == "127.0.0.1"
    assert changed["user_agent"] == "audit-test/1" and changed["request_id"] == "req-4711"
    assert [r["seq"] for r in (made, changed, gone)] == list(
        range(made["seq"], made["seq"] + 3))
    assert changed["prev_hash"] == made["hash"] and gone["prev_hash"] == changed["hash"]


def test_a_refused_change_writes_nothing(own_team):
    project = new_project(own_team.api)
    before = own_team.audit()

    taken = {"key": project["key"], "name": "x"}
    assert own_team.api.post("/v1/projects", taken).status_code == 409
    assert own_team.api.post("/v1/projects", {"key": "!", "name": "x"}).status_code == 422
    assert own_team.api.patch(f"/v1/projects/{project['id']}", {"name": "x"},
                              headers={"If-Match": '"99"'}).status_code == 412

    assert own_team.audit() == before


def test_a_change_that_the_command_line_makes_is_of_kind_cli(server, own_team):
    row = own_team.audit()[0]
    assert row["actor_kind"] == "cli" and row["actor_id"] == "" and row["ip"] == ""


# POST, and yet: it only reads; it tells what a worker has done, as often as it does, in a log of its
# own.
NO_CHANGE = {"/v1/api-keys/verify", "/v1/syncs/{sync_id}/runs"}


def test_every_call_of_administration_leaves_a_row(server):
    """Made from the server's own description: what needs an admin and is not GET."""
    world, tried, silent = World(server), 0, []
    operations = sorted(contract_of(server).operations(), key=lambda o: o[0] == "DELETE")
    for method, template, operation in operations:
        is_of_admins = operation.get("x-least-role") in ("admin", "owner")
        if method == "GET" or not is_of_admins or template in NO_CHANGE:
            continue
        last = parameters_of(template)[-1:]
        if method == "DELETE":
            world.ids.pop(last[0], None)
        path, before = world.fill(template), len(world.audit())
        reply = world.api.request(method, path, **request_for(world, method, template, operation))
        if method == "DELETE":
            world.ids.pop(last[0], None)
        rows = world.audit()[before:]
        tried += reply.status_code < 300
        if reply.status_code < 300 and [r["actor_id"] for r in rows] != [world.key["id"]]:
            silent.append(f"{method} {template}: {reply.status_code} {rows}")
    assert not silent, "\n".join(silent)
    assert tried >= 12


def test_a_merge_of_contacts_leaves_a_row(server):
    world = World(server)
    kept, gone = world.id_of("contact_id"), world.post("/v1/contacts", {"name": "twin"})["id"]
    world.post(f"/v1/contacts/{kept}/merge", {"from": [gone]})
    assert [r["target_id"] for r in world.audit(action="contact.")] == [kept]


# --- reading --------------------------------------------------------------------------------------


def test_the_newest_comes_first_and_pages_meet(own_team):
    for _ in range(5):
        new_project(own_team.api)
    whole = own_team.api.get("/v1/audit", params={"limit": 200}).json()["data"]
    assert [r["seq"] for r in whole] == list(range(len(whole), 0, -1))

    got, cursor = [], None
    while True:
        page = own_team.api.get("/v1/audit", params={"limit": 2, **({"cursor": cursor} if cursor
                                                                    else {})}).json()
        assert len(page["data"]) <= 2
        got += page["data"]
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert got == whole


def test_each_filter_chooses(own_team):
    first = new_project(own_team.api)
    second = new_project(own_team.api)
    own_team.api.delete(f"/v1/projects/{first['id']}")
    rows = own_team.audit()

    def found(**params):
        return [(r["action"], r["target_id"]) for r in own_team.audit(**params)]

    assert found(action="project.") == [("project.create", first["id"]),
                                        ("project.create", second["id"]),
                                        ("project.delete", first["id"])]
    assert found(action="project.delete") == [("project.delete", first["id"])]
    assert found(action="project") == []
    assert found(target_id=second["id"]) == [("project.create", second["id"])]
    assert len(found(target_type="project")) == 3
    assert len(found(actor_id=own_team.key["id"])) == 3
    assert found(actor_id="nobody") == []
    assert len(found(to=rows[0]["at"])) == 0
    assert len(found(**{"from": rows[0]["at"]})) == len(rows)


@pytest.mark.parametrize("params, field", [
    ({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"cursor": "x"}, "cursor"),
    ({"from": "yesterday"}, "from"), ({"to": "1"}, "to"), ({"colour": "red"}, "colour"),
    ({"action": "x" * 65}, "action"),
])
def test_a_wrong_parameter_is_named(team, params, field):
    assert_problem(team.api.get("/v1/audit", params=params), 400, "invalid_parameter", [field])


def test_a_cursor_of_another_filter_is_refused(team):
    new_project(team.api)
    new_project(team.api)
    cursor = team.api.get("/v1/audit", params={"limit": 1}).json()["next_cursor"]
    reply = team.api.get("/v1/audit", params={"limit": 1, "cursor": cursor, "action": "project."})
    assert_problem(reply, 400, "invalid_parameter", ["cursor"])


@pytest.mark.parametrize("path", ["/v1/audit", "/v1/audit/export"])
def test_only_owners_and_keys_with_admin_full_read(server, team, path):
    assert_problem(Api(server).get(path), 401, "missing_token")
    body = assert_problem(team.api_with(["tickets:*", "agents:*"]).get(path), 403,
                          "insufficient_scope")
    assert "audit:read" in body["detail"] or "admin:full" in body["detail"], body
    assert team.api.get(path).status_code == 200


def test_a_team_reads_its_own_rows_only(server, own_team):
    stranger = Tenant(server)
    new_project(own_team.api)
    theirs = {r["target_id"] for r in own_team.audit()}
    ours = {r["target_id"] for r in stranger.audit()}

    assert theirs and ours and not theirs & ours
    assert not theirs & {r["target_id"]
                         for r in lines(stranger.api.get("/v1/audit/export").text)}


# --- export ---------------------------------------------------------------------------------------


def test_an_ndjson_export_holds_what_the_list_shows(own_team):
    for name in ("a", "b\"c", "ä漢\u2028"):
        new_project(own_team.api, name)
    reply = own_team.api.get("/v1/audit/export")

    assert reply.headers["Content-Type"] == "application/x-ndjson"
    assert 'filename="audit.ndjson"' in reply.headers["Content-Disposition"]
    reply.encoding = "utf-8"
    assert [json.loads(line) for line in reply.text.split("\n")[:-1]] == own_team.audit()


def test_a_csv_export_has_a_line_of_names_and_the_same_rows(own_team):
    new_project(own_team.api, 'a "quoted", name')
    reply = own_team.api.get("/v1/audit/export", params={"format": "csv", "action": "project."})

    assert reply.headers["Content-Type"].startswith("text/csv")
    assert 'filename="audit.csv"' in reply.headers["Content-Disposition"]
    names, *rows = csv.reader(io.StringIO(reply.text))
    want = own_team.audit(action="project.")
    assert names == list(want[0]) and len(rows) == 1
    got = dict(zip(names, rows[0]))
    assert json.loads(got["after"]) == want[0]["after"]
    assert got["before"] == "" and got["hash"] == want[0]["hash"]
    assert got["seq"] == str(want[0]["seq"]) and got["at"] == want[0]["at"]


def test_an_export_of_another_format_is_refused(team):
    assert_problem(team.api.get("/v1/audit/export", params={"format": "xml"}), 400,
                   "invalid_parameter", ["format"])
    assert_problem(team.api.get("/v1/audit/export", params={"limit": 5}), 400,
                   "invalid_parameter", ["limit"])


def test_the_command_line_exports_the_same(server, own_team):
    new_project(own_team.api, "ä")
    assert lines(server.cli("audit", "export", "--team", own_team.slug)) == own_team.audit()
    text = server.cli("audit", "export", "--team", own_team.id, "--format", "csv")
    assert text == own_team.api.get("/v1/audit/export", params={"format": "csv"}).text.replace(
        "\r\n", "\n")
    for args in (["--team", "no-such-team"], ["--format", "xml"]):
        with pytest.raises(Refused):
            server.cli("audit", "export", *args)


# --- the chain ------------------------------------------------------------------------------------


def test_an_untouched_log_is_intact(server, own_team):
    new_project(own_team.api)
    rows = own_team.audit()
    check = check_of(server, own_team)

    assert check["intact"] and check["rows"] == len(rows) and check["unkeyed_rows"] == 0
    assert check["why"] is None and check["bad_seq"] is None
    assert check["head"] == f"{rows[-1]['seq']}:{rows[-1]['hash']}"


@pytest.fixture
def tampered(fresh_server):
    """A server of its own: (server, team with five rows or more, cursor of a superuser)."""
    team = Tenant(fresh_server)
    for _ in range(5):
        new_project(team.api)
    assert check_of(fresh_server, team)["intact"]
    with as_superuser(fresh_server) as cur:
        yield fresh_server, team, cur


def test_the_servers_own_role_cannot_change_or_delete_a_row(fresh_server):
    team = Tenant(fresh_server)
    before = team.audit()
    for statement in ("UPDATE audit_log SET actor_name = 'x'", "DELETE FROM audit_log"):
        if fresh_server.backend == "postgres":
            conn = fresh_server.database.connect()
            prefix = "SET tessera.system = 'on'"
        else:
            conn = sqlite3.connect(fresh_server.db_path, timeout=10)
            prefix = "SELECT 1"
        with contextlib.closing(conn):
            cur = conn.cursor()
            cur.execute(prefix)
            with pytest.raises(Exception, match="append-only"):
                cur.execute(statement)
    assert team.audit() == before


def test_a_changed_row_is_named(tampered):
    server, team, cur = tampered
    cur.execute(f"UPDATE audit_log SET after_json = '{{}}' WHERE team_id = '{team.id}' AND seq = 3")
    check = check_of(server, team)
    assert (check["intact"], check["bad_seq"]) == (False, 3)
    assert "changed" in check["why"]


def test_a_deleted_row_is_named(tampered):
    server, team, cur = tampered
    cur.execute(f"DELETE FROM audit_log WHERE team_id = '{team.id}' AND seq = 2")
    check = check_of(server, team)
    assert (check["intact"], check["bad_seq"]) == (False, 2)
    assert "missing" in check["why"]


def test_rows_in_another_order_are_named(tampered):
    server, team, cur = tampered
    for old, new in ((2, 99), (3, 2), (99, 3)):
        cur.execute(f"UPDATE audit_log SET seq = {new} WHERE team_id = '{team.id}' AND seq = {old}")
    assert check_of(server, team)["bad_seq"] == 2


def test_cut_off_rows_are_named(tampered):
    server, team, cur = tampered
    last = len(team.audit())
    cur.execute(f"DELETE FROM audit_log WHERE team_id = '{team.id}' AND seq = {last}")
    check = check_of(server, team)
    assert check["bad_seq"] == last and "head" in check["why"]


def test_rows_cut_off_with_the_head_are_found_by_a_head_kept_elsewhere(tampered):
    server, team, cur = tampered
    kept = check_of(server, team)["head"]
    last = len(team.audit())
    cur.execute(f"DELETE FROM audit_log WHERE team_id = '{team.id}' AND seq = {last}")
    cur.execute(f"UPDATE audit_head SET seq = {last - 1}, hash = (SELECT hash FROM audit_log "
                f"WHERE team_id = '{team.id}' AND seq = {last - 1}) WHERE team_id = '{team.id}'")
    assert check_of(server, team)["intact"]
    status, checks = verify(server, "--team", team.slug, "--head", kept)
    assert status == 1 and checks[team.id]["bad_seq"] == last


def test_only_the_tampered_team_is_named_and_the_words_say_so(tampered):
    server, team, cur = tampered
    healthy = Tenant(server)
    cur.execute(f"UPDATE audit_log SET ip = '10.0.0.1' WHERE team_id = '{team.id}' AND seq = 1")
    status, checks = verify(server)
    assert status == 1
    assert not checks[team.id]["intact"] and checks[healthy.id]["intact"]

    done = server.run("audit", "verify")
    assert done.returncode == 1
    assert f"TAMPERED  {team.slug}" in done.stdout and "row 1" in done.stdout
    assert f"intact    {healthy.slug}" in done.stdout


def test_the_master_key_is_needed_to_call_a_log_intact(server, own_team):
    done = server.run("audit", "verify", "--team", own_team.slug,
                      env={"TESSERA_MASTER_KEY": "ab" * 32})
    assert done.returncode == 1 and "wrapped under the master key with id" in done.stderr
    del server.env["TESSERA_MASTER_KEY"]
    try:
        done = server.run("audit", "verify", "--team", own_team.slug)
    finally:
        server.env["TESSERA_MASTER_KEY"] = MASTER_KEY
    assert done.returncode == 1 and "another master key" in done.stdout


def test_a_wrong_use_of_verify_is_told(server, team):
    for args in (["--head", "3:x"], ["--team", team.slug, "--head", "x"]):
        assert server.run("audit", "verify", *args).returncode == 2
    done = server.run("audit", "verify", "--team", "no-such-team")
    assert done.returncode == 1 and "no team" in done.stderr


# --- the rules ------------------------------------------------------------------------------------


def test_side_by_side_changes_make_one_chain_without_gaps(server, own_team):
    before = len(own_team.audit())

    def work():
        api = Api(server, own_team.key["token"])
        for _ in range(10):
            new_project(api)
    threads = [threading.Thread(target=work) for _ in range(6)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()

    rows = own_team.audit()
    assert [r["seq"] for r in rows] == list(range(1, before + 61))
    assert check_of(server, own_team)["intact"]


def test_no_change_is_without_its_row_after_a_hard_kill(fresh_server):
    team = Tenant(fresh_server)
    stop = threading.Event()

    def work():
        api = Api(fresh_server, team.key["token"], check=False)
        while not stop.is_set():
            try:
                new_project(api)
            except Exception:           # the server is gone
                return
    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    wait_until(lambda: len(team.audit(action="project.")) > 20, 20, "changes are being made")
    fresh_server.kill9()
    stop.set()
    for t in threads:
        t.join()
    fresh_server.start()

    assert check_of(fresh_server, team)["intact"]
    made = {r["target_id"] for r in team.audit(action="project.create")}
    found, cursor = set(), None
    while True:
        page = team.api.get("/v1/projects", params={"limit": 200, **({"cursor": cursor} if cursor
                                                                     else {})}).json()
        found |= {p["id"] for p in page["data"]}
        cursor = page["next_cursor"]
        if not cursor:
            break
    assert made == found

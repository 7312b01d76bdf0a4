"""Users of a team: adding, roles, removing, and who may do that; the commands of the operator."""

import contextlib
import hashlib
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.people import PASSWORD, Person, create_user, new_email, person_on
from harness.server import Refused
from harness.tenants import Tenant

ABSENT = "01900000-0000-7000-8000-000000000bad"
MIGRATION = os.path.join(os.path.dirname(__file__), "..", "..", "src", "store", "migrations",
                         "0001_init.sql")
ROLES = ["viewer", "agent", "admin", "owner"]


@pytest.fixture(scope="module")
def team(common_server):
    """A team with an owner, so that nobody else is its last one."""
    made = Tenant(common_server)
    made.owner = person_on(common_server, "owner", made.slug)
    return made


def member(team, role="agent", **kwargs):
    return create_user(team.server, role, team.slug, **kwargs)


def add(api, **body):
    return api.post("/v1/users", {"email": new_email(), "role": "agent", **body})


def token_of(url):
    return url.split("token=")[1]


# --- reading -------------------------------------------------------------------------------------


def test_the_list_shows_the_team_and_nobody_else(server):
    mine, theirs = Tenant(server), Tenant(server)
    ann, bob = member(mine, "owner", name="Ann"), member(mine, "viewer", name="Bob")
    member(theirs)

    listed = mine.api.get("/v1/users").json()

    assert [(u["id"], u["role"]) for u in listed["data"]] == [(ann["id"], "owner"),
                                                              (bob["id"], "viewer")]
    assert listed["next_cursor"] is None and "argon2" not in json.dumps(listed)


def test_the_list_is_filtered(server):
    mine = Tenant(server)
    ann = member(mine, "owner", name="Ann Ärger", email=f"x.{new_email()}")
    bob = member(mine, "viewer", name="100%_Bob")

    def ids(**params):
        return [u["id"] for u in mine.api.get("/v1/users", params=params).json()["data"]]

    assert ids(role="viewer") == [bob["id"]]
    assert ids(q="ANN") == [ann["id"]]
    assert ids(q="x.p") == [ann["id"]]
    assert ids(q="0%_b") == [bob["id"]]
    assert ids(q="%") == [bob["id"]]
    assert ids(q="nobody") == []


def test_the_list_is_paged(server):
    mine = Tenant(server)
    made = [member(mine)["id"] for _ in range(5)]

    first = mine.api.get("/v1/users", params={"limit": 3}).json()
    rest = mine.api.get("/v1/users", params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [u["id"] for u in first["data"] + rest["data"]] == made
    assert rest["next_cursor"] is None
    assert_problem(mine.api.get("/v1/users", params={"q": "x", "cursor": first["next_cursor"]}),
                   400, "invalid_parameter")


@pytest.mark.parametrize("params", [{"role": "king"}, {"limit": "0"}, {"limit": "201"}, {"q": ""},
                                    {"x": "1"}])
def test_a_bad_parameter_is_named(team, params):
    assert_problem(team.api.get("/v1/users", params=params), 400, fields=params.keys())


def test_one_is_read(team):
    made = member(team, "viewer")

    got = team.owner.get(f"/v1/users/{made['id'].upper()}")

    assert got.status_code == 200 and got.json()["email"] == made["email"]


# --- adding --------------------------------------------------------------------------------------


def test_a_new_user_is_invited(team):
    email = new_email()

    reply = add(team.owner, email=email.upper(), name="Carol", role="admin")

    made = reply.json()
    assert reply.status_code == 201 and reply.headers["Location"] == f"/v1/users/{made['id']}"
    assert (made["email"], made["name"], made["role"]) == (email, "Carol", "admin")
    assert made["invite_url"].startswith("/reset-password?token=")
    assert "invite_url" not in team.owner.get(f"/v1/users/{made['id']}").json()
    assert_problem(Person(team.server, email, "").try_sign_in(password="x"), 401,
                   "invalid_credentials")                       # no password opens it yet


def test_an_invitation_is_accepted_once(team):
    made = add(team.owner).json()
    carol = Person(team.server, made["email"], "carols own password", team.slug)
    body = {"token": token_of(made["invite_url"]), "new_password": carol.password}

    assert Api(team.server).post("/v1/password-resets/confirm", body).status_code == 204

    carol.sign_in()
    assert carol.get("/v1/me").json()["team"]["role"] == "agent"
    assert_problem(Api(team.server).post("/v1/password-resets/confirm", body), 422,
                   fields=["token"])


def test_an_invitation_holds_for_seven_days(team):
    made = add(team.owner).json()

    life = truth.value(team.server, "SELECT expires_ms - created_ms FROM password_reset "
                                    "WHERE user_id = ? AND kind = 'invite'", made["id"])

    assert life == 7 * 86400_000


def test_a_known_user_is_added_without_a_link(server, team):
    elsewhere = Tenant(server)
    dora = person_on(server, "owner", elsewhere.slug)

    reply = add(team.owner, email=dora.email, role="viewer", name="Not Dora")

    made = reply.json()
    assert reply.status_code == 201 and made["invite_url"] is None
    assert made["id"] == dora.user_id and made["name"] == dora.user["name"]
    assert dora.get("/v1/me", headers={"Tessera-Team": team.slug}).json()["team"]["role"] == "viewer"


def test_an_invited_user_of_another_team_gets_no_second_link(server, team):
    email = new_email()
    assert add(Tenant(server).api, email=email).json()["invite_url"]

    assert add(team.owner, email=email).json()["invite_url"] is None


def test_a_member_is_not_added_again(team):
    made = member(team)

    assert_problem(add(team.owner, email=made["email"]), 409, "already_exists")


def test_at_the_same_moment_one_of_them_is_added_once(team):
    email = new_email()

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda _: add(Api(team.server, team.key["token"]), email=email)
                            .status_code, range(4)))

    assert sorted(got) == [201, 409, 409, 409]


@pytest.mark.parametrize("change, field", [
    ({"email": "x"}, "email"), ({"email": "a b@c"}, "email"), ({"email": "a@b\r\nBcc: c@d"}, "email"),
    ({"email": "a@b,c@d"}, "email"), ({"email": None}, "email"), ({"email": "a@" + "b" * 260}, "email"),
    ({"role": "king"}, "role"), ({"role": None}, "role"), ({"name": "x" * 201}, "name"),
    ({"name": "a\nb"}, "name"), ({"password": "x" * 12}, "password")])
def test_a_bad_user_is_named(team, change, field):
    assert_problem(add(team.owner, **change), 422, fields=[field])


# --- roles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ROLES)
def test_an_owner_gives_every_role(team, role):
    made = member(team, "viewer")

    reply = team.owner.patch(f"/v1/users/{made['id']}", {"role": role})

    assert reply.status_code == 200 and reply.json()["role"] == role
    assert team.owner.get(f"/v1/users/{made['id']}").json()["role"] == role


def test_an_admin_gives_roles_up_to_his_own(team):
    admin = person_on(team.server, "admin", team.slug)
    made = member(team, "viewer")

    for role in ("agent", "admin"):
        assert admin.patch(f"/v1/users/{made['id']}", {"role": role}).status_code == 200
        assert add(admin, role=role).status_code == 201
    assert_problem(admin.patch(f"/v1/users/{made['id']}", {"role": "owner"}), 403,
                   "insufficient_role")
    assert_problem(add(admin, role="owner"), 403, "insufficient_role")
    assert_problem(admin.patch(f"/v1/users/{admin.user_id}", {"role": "owner"}), 403,
                   "insufficient_role")


def test_an_admin_does_not_touch_owners(team):
    admin = person_on(team.server, "admin", team.slug)
    owner = member(team, "owner")

    assert_problem(admin.patch(f"/v1/users/{owner['id']}", {"role": "viewer"}), 403,
                   "insufficient_role")
    assert_problem(admin.delete(f"/v1/users/{owner['id']}"), 403, "insufficient_role")
    assert team.owner.get(f"/v1/users/{owner['id']}").json()["role"] == "owner"


@pytest.mark.parametrize("role", ["viewer", "agent"])
def test_below_admin_users_are_read_only(team, role):
    who = person_on(team.server, role, team.slug)
    other = member(team)

    assert who.get("/v1/users").status_code == 200
    assert who.get(f"/v1/users/{other['id']}").status_code == 200
    assert_problem(add(who), 403, "insufficient_role")
    assert_problem(who.patch(f"/v1/users/{who.user_id}", {"role": "admin"}), 403,
                   "insufficient_role")
    assert_problem(who.delete(f"/v1/users/{other['id']}"), 403, "insufficient_role")


def test_a_new_role_holds_at_once(team):
    who = person_on(team.server, "admin", team.slug)
    assert who.get("/v1/usage/dashboard").status_code != 403

    team.owner.patch(f"/v1/users/{who.user_id}", {"role": "viewer"})

    assert_problem(add(who), 403, "insufficient_role")


def test_the_last_owner_stays(server):
    mine = Tenant(server)
    ann = person_on(server, "owner", mine.slug)
    bob = member(mine, "admin")

    assert_problem(ann.patch(f"/v1/users/{ann.user_id}", {"role": "admin"}), 409, "conflict")
    assert_problem(ann.delete(f"/v1/users/{ann.user_id}"), 409, "conflict")
    assert_problem(mine.api.delete(f"/v1/users/{ann.user_id}"), 409, "conflict")
    ann.patch(f"/v1/users/{bob['id']}", {"role": "owner"})
    assert ann.delete(f"/v1/users/{ann.user_id}").status_code == 204


def test_a_disabled_owner_does_not_count(server):
    mine = Tenant(server)
    ann = person_on(server, "owner", mine.slug)
    bob = member(mine, "owner")
    server.cli("user", "disable", bob["email"])

    assert_problem(ann.patch(f"/v1/users/{ann.user_id}", {"role": "admin"}), 409, "conflict")
    assert ann.delete(f"/v1/users/{bob['id']}").status_code == 204


def test_two_owners_do_not_remove_each_other_at_the_same_moment(server):
    for _ in range(4):
        mine = Tenant(server)
        ann, bob = (person_on(server, "owner", mine.slug) for _ in range(2))
        pairs = [(ann, bob.user_id), (bob, ann.user_id)]

        with ThreadPoolExecutor(2) as pool:
            got = list(pool.map(lambda p: p[0].patch(f"/v1/users/{p[1]}", {"role": "viewer"})
                                .status_code, pairs))

        roles = [u["role"] for u in mine.api.get("/v1/users").json()["data"]]
        assert roles.count("owner") == 1 and 200 in got, (got, roles)


@pytest.mark.parametrize("body", [{"role": "king"}, {"role": None}, {"role": 1}])
def test_a_bad_role_is_named(team, body):
    made = member(team)

    assert_problem(team.owner.patch(f"/v1/users/{made['id']}", body), 422, fields=["role"])


@pytest.mark.parametrize("field", ["name", "email", "status", "id"])
def test_a_team_does_not_change_what_is_the_users_own(team, field):
    made = member(team)

    assert_problem(team.owner.patch(f"/v1/users/{made['id']}", {field: "x"}), 422, fields=[field])


# --- removing ------------------------------------------------------------------------------------


def test_a_removed_user_keeps_the_account(server, team):
    elsewhere = Tenant(server)
    eve = person_on(server, "viewer", team.slug)
    server.cli("user", "role", eve.email, "agent", "--team", elsewhere.slug)

    assert team.owner.delete(f"/v1/users/{eve.user_id}").status_code == 204

    assert_problem(eve.get("/v1/tickets"), 404, "not_found")
    eve.team = None
    assert eve.get("/v1/me").json()["team"]["slug"] == elsewhere.slug
    assert_problem(team.owner.get(f"/v1/users/{eve.user_id}"), 404, "not_found")
    assert_problem(team.owner.delete(f"/v1/users/{eve.user_id}"), 404, "not_found")


# --- who -----------------------------------------------------------------------------------------


def test_users_of_another_team_are_not_found(server, team):
    foreign = member(Tenant(server))

    for user_id in (foreign["id"], ABSENT):
        assert_problem(team.owner.get(f"/v1/users/{user_id}"), 404, "not_found")
        assert_problem(team.owner.patch(f"/v1/users/{user_id}", {"role": "viewer"}), 404,
                       "not_found")
        assert_problem(team.owner.delete(f"/v1/users/{user_id}"), 404, "not_found")


def test_an_id_that_is_none_is_named(team):
    for method, body in (("GET", None), ("PATCH", {"role": "viewer"}), ("DELETE", None)):
        assert_problem(team.owner.request(method, "/v1/users/x", json=body), 400,
                       "invalid_parameter", fields=["user_id"])


def test_keys_need_admin_full(team):
    key = team.api_with(["agents:write", "tickets:write"])

    assert_problem(key.get("/v1/users"), 403, "insufficient_scope")
    assert_problem(add(key), 403, "insufficient_scope")
    assert_problem(key.patch(f"/v1/users/{ABSENT}", {"role": "viewer"}), 403, "insufficient_scope")
    assert_problem(key.delete(f"/v1/users/{ABSENT}"), 403, "insufficient_scope")
    assert team.api.get("/v1/users").status_code == 200
    assert add(team.api, role="owner").status_code == 201


def test_without_a_proof_nothing_is_told(anonymous):
    for method, path in (("GET", "/v1/users"), ("POST", "/v1/users"),
                         ("GET", f"/v1/users/{ABSENT}"), ("DELETE", f"/v1/users/{ABSENT}")):
        assert_problem(anonymous.request(method, path), 401, "missing_token")


# --- audit ---------------------------------------------------------------------------------------


def test_every_change_is_in_the_audit_log(server):
    mine = Tenant(server)
    ann = person_on(server, "owner", mine.slug)
    made = add(ann, name="Carol").json()
    ann.patch(f"/v1/users/{made['id']}", {"role": "admin"})
    ann.patch(f"/v1/users/{made['id']}", {"role": "admin"})             # changes nothing
    ann.delete(f"/v1/users/{made['id']}")

    rows = [r for r in mine.audit() if r["target_id"] == made["id"]]

    assert [r["action"] for r in rows] == ["user.invite", "user.role", "user.remove"]
    assert {r["actor_id"] for r in rows} == {ann.user_id}
    assert rows[0]["before"] is None and rows[0]["after"]["role"] == "agent"
    assert (rows[1]["before"]["role"], rows[1]["after"]["role"]) == ("agent", "admin")
    assert rows[2]["after"] is None and token_of(made["invite_url"]) not in json.dumps(rows)


# --- the command line ----------------------------------------------------------------------------


def test_user_create_puts_the_user_into_a_team(server):
    mine = Tenant(server)

    made = create_user(server, "viewer", mine.slug)

    assert [u["id"] for u in mine.api.get("/v1/users").json()["data"]] == [made["id"]]
    row = mine.audit(action="user.create")[0]
    assert row["actor_kind"] == "cli" and row["target_id"] == made["id"]


def test_user_list_shows_all_or_one_team(server):
    mine = Tenant(server)
    made = create_user(server, "viewer", mine.slug)

    assert [u["role"] for u in server.cli_json("user", "list", "--team", mine.slug)] == ["viewer"]
    assert made["id"] in [u["id"] for u in server.cli_json("user", "list")]
    assert made["email"] in server.cli("user", "list")
    assert "argon2" not in server.cli("user", "list", "--json")


def test_user_role_changes_or_adds(server):
    mine, other = Tenant(server), Tenant(server)
    made = create_user(server, "viewer", mine.slug)

    server.cli("user", "role", made["email"], "owner", "--team", mine.slug)
    added = server.cli_json("user", "role", made["email"], "agent", "--team", other.slug)

    assert mine.api.get(f"/v1/users/{made['id']}").json()["role"] == "owner"
    assert added["role"] == "agent"
    with pytest.raises(Refused) as refused:
        server.cli("user", "role", made["email"], "viewer", "--team", mine.slug)
    assert "last owner" in refused.value.stderr


@pytest.mark.parametrize("args", [
    ("user", "role", "nobody@example.com", "agent"), ("user", "disable", "nobody@example.com"),
    ("user", "enable", "nobody@example.com"), ("user", "reset-link", "nobody@example.com"),
    ("user", "list", "--team", "no-such-team")])
def test_a_command_about_nobody_is_refused(server, args):
    done = server.run(*args)

    assert done.returncode == 1 and "there is no" in done.stderr


def test_a_role_that_is_none_is_a_usage_error(server):
    made = create_user(server)

    assert server.run("user", "role", made["email"], "king").returncode == 2


def test_disable_and_enable_are_audited_in_every_team(server):
    mine, other = Tenant(server), Tenant(server)
    made = create_user(server, "viewer", mine.slug)
    server.cli("user", "role", made["email"], "agent", "--team", other.slug)

    assert server.cli_json("user", "disable", made["email"])["status"] == "disabled"
    server.cli("user", "enable", made["email"])

    for team in (mine, other):
        rows = [r for r in team.audit() if r["action"] in ("user.disable", "user.enable")]
        assert [r["after"]["status"] for r in rows] == ["disabled", "active"]
    Person(server, made["email"], PASSWORD).sign_in()


def first_schema(backend):
    """The text of 0001_init for one database, and the checksum that the program keeps of it."""
    with open(MIGRATION, "rb") as f:
        whole = f.read()
    wanted, text = True, []
    for line in whole.decode().splitlines():
        if line.startswith("-- {"):
            wanted = line[4:line.index("}")] in ("both", backend)
        elif wanted:
            text.append(line)
    return "\n".join(text), hashlib.sha256(whole).hexdigest()


def to_first_schema(server):
    """An empty database as the first version of the program left it."""
    text, checksum = first_schema(server.backend)
    text += ("\nCREATE TABLE schema_migration (name TEXT NOT NULL PRIMARY KEY, checksum TEXT NOT "
             "NULL, applied_ms BIGINT NOT NULL);\nINSERT INTO schema_migration VALUES "
             f"('0001_init', '{checksum}', 1);")
    if server.backend == "sqlite":
        os.remove(server.db_path)
        with contextlib.closing(sqlite3.connect(server.db_path)) as conn:
            conn.executescript(text)
        return
    with contextlib.closing(server.database.connect()) as conn, conn.cursor() as cur:
        cur.execute("SELECT relname, relkind FROM pg_class WHERE relkind IN ('r', 'p', 'v') AND "
                    "NOT relispartition AND relnamespace = 'public'::regnamespace")
        for name, kind in cur.fetchall():
            cur.execute(f'DROP {"VIEW" if kind == "v" else "TABLE"} IF EXISTS "{name}" CASCADE')
        cur.execute("SELECT oid::regprocedure FROM pg_proc WHERE proowner = current_user::regrole")
        for (name,) in cur.fetchall():
            cur.execute(f"DROP FUNCTION IF EXISTS {name} CASCADE")
        cur.execute(text)
        conn.commit()


def test_users_of_the_first_schema_are_taken_over(start_server):
    server = start_server(start=False)
    made = create_user(server, "admin", name="Old Ann")
    columns = "id, email, name, password_hash, created_ms"
    row = truth.rows(server, f"SELECT {columns} FROM app_user")[0]
    to_first_schema(server)
    truth.execute(server, f"INSERT INTO user_account (team_id, role, {columns}) VALUES "
                          "('00000000-0000-7000-8000-000000000001', 'admin', ?, ?, ?, ?, ?)", *row)

    server.start()

    ann = Person(server, made["email"]).sign_in()
    assert ann.user["id"] == made["id"] and ann.user["name"] == "Old Ann"
    assert [(t["slug"], t["role"]) for t in ann.teams] == [("default", "admin")]

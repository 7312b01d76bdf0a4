"""A token sees only its own tickets: by every route, and in PostgreSQL by the database itself."""

import contextlib
import uuid

import psycopg2
import pytest
from harness.client import contract_of
from harness.server import V0


def body_for(method, template):
    """A body that the route would accept from the owner."""
    if method not in ("POST", "PATCH", "PUT"):
        return None
    if template.endswith("/comments"):
        return {"content": "stolen"}
    if template.endswith("/status"):
        return {"status": "closed"}
    return {"title": "stolen", "status": "closed"}


def routes_with_a_ticket_id(api):
    return [(method, template) for method, template, _ in contract_of(api.server).operations()
            if "{" in template and "/tickets/" in template]


def test_every_route_with_anothers_ticket_id_is_404_or_the_documented_401(api, other):
    victim = other.create_v0("private", metadata={"secret": "mine"})
    other.post(f"{V0}/tickets/{victim['id']}/comments", {"content": "private words"})
    before = other.get(f"/v1/tickets/{victim['id']}").json()
    tried = routes_with_a_ticket_id(api)
    assert len(tried) >= 8, tried

    for method, template in tried:
        path = template.replace("{id}", victim["id"]).replace("{ticket_id}", victim["id"])
        assert "{" not in path, f"unknown parameter in {template}"
        reply = api.request(method, path, json=body_for(method, template))
        unauthorized = template.startswith(V0) and method != "GET"
        assert reply.status_code == (401 if unauthorized else 404), f"{method} {path}"
        assert "private" not in reply.text and "mine" not in reply.text

    assert other.get(f"/v1/tickets/{victim['id']}").json() == before
    comments = other.get(f"/v1/tickets/{victim['id']}/comments").json()["data"]
    assert [c["content"] for c in comments] == ["private words"]


def test_lists_and_searches_show_only_own_tickets(new_api):
    mine, theirs = new_api(), new_api()
    word = f"word{uuid.uuid4().hex}"
    theirs.create_v1(word, category=word, priority="urgent")
    mine.create_v1("own", priority="urgent")

    for params in ({}, {"q": word}, {"category": word}, {"priority": "urgent"},
                   {"created_after": "2000-01-01T00:00:00Z"}, {"sort": "updated_at"}):
        got = mine.list_v1(limit=200, **params)["data"]
        assert all(t["title"] == "own" for t in got), params
    assert mine.list_v1(count="true")["total"] == 1


def test_ids_in_a_body_do_not_move_a_ticket_to_another_owner(new_api):
    mine, theirs = new_api(), new_api()
    ticket = mine.create_v0("x", token_id=theirs.token_id, team_id="other",
                            integration_source="forged")

    assert mine.get_v0(ticket["id"])["title"] == "x"
    assert theirs.list_v1()["data"] == []
    assert mine.get(f"/v1/tickets/{ticket['id']}").json().get("integration_source") != "forged"


# --- PostgreSQL: the database refuses even when the program would not -----------------------------


@pytest.fixture
def app(server):
    """A connection with the rights of the server itself."""
    with contextlib.closing(server.database.connect()) as conn:
        yield conn


def one(conn, statement, *args):
    with conn.cursor() as cur:
        cur.execute(statement, args)
        return cur.fetchone()[0]


def become(conn, team, token):
    with conn.cursor() as cur:
        cur.execute("SELECT set_config('tessera.team', %s, false), "
                    "set_config('tessera.token', %s, false)", (team, token))


@pytest.mark.only_backend("postgres")
def test_the_servers_role_has_no_special_right(app):
    assert one(app, "SELECT rolsuper OR rolbypassrls FROM pg_roles "
                    "WHERE rolname = current_user") is False


@pytest.mark.only_backend("postgres")
def test_every_table_of_a_tenant_forces_row_security(app):
    with app.cursor() as cur:
        cur.execute("SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity FROM pg_class c "
                    "JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'team_id' "
                    "WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition "
                    "AND c.relnamespace = 'public'::regnamespace")
        found = dict(cur.fetchall())

    assert {"tickets", "ticket_comments", "integration_tokens", "idempotency_keys",
            "integration_token_usage"} <= set(found)
    assert all(found.values()), found


@pytest.mark.only_backend("postgres")
@pytest.mark.parametrize("table", ["tickets", "ticket_comments", "integration_tokens",
                                   "idempotency_keys", "integration_token_usage", "usage_rollup",
                                   "user_account", "recent_token_usage",
                                   "integration_token_stats"])
def test_without_a_caller_the_database_shows_nothing(api, app, table):
    ticket = api.create_v0()
    api.post(f"{V0}/tickets/{ticket['id']}/comments", {"content": "x"})

    assert one(app, f"SELECT count(*) FROM {table}") == 0


@pytest.mark.only_backend("postgres")
def test_partitions_of_usage_hide_their_rows_too(api, app):
    api.create_v0()
    with app.cursor() as cur:
        cur.execute("SELECT relname FROM pg_class WHERE relispartition AND relkind = 'r'")
        parts = [row[0] for row in cur.fetchall()]

    assert parts
    for part in parts:
        assert one(app, f'SELECT count(*) FROM "{part}"') == 0, part


@pytest.mark.only_backend("postgres")
def test_the_database_shows_a_caller_its_own_tickets_only(server, new_api, app):
    mine, theirs = new_api(), new_api()
    own, foreign = mine.create_v0("own"), theirs.create_v0("foreign")
    with contextlib.closing(server.database.connect_admin()) as admin:
        team = one(admin, "SELECT team_id FROM tickets WHERE id = %s", own["id"])
    become(app, team, mine.token_id)

    assert one(app, "SELECT count(*) FROM tickets") == 1
    assert one(app, "SELECT id FROM tickets") == own["id"]
    with app.cursor() as cur:
        cur.execute("UPDATE tickets SET title = 'stolen' WHERE id = %s", (foreign["id"],))
        assert cur.rowcount == 0
        cur.execute("DELETE FROM tickets WHERE id = %s", (foreign["id"],))
        assert cur.rowcount == 0
    app.rollback()
    assert theirs.get_v0(foreign["id"])["title"] == "foreign"


@pytest.mark.only_backend("postgres")
def test_the_database_refuses_a_ticket_for_another_owner(server, new_api, app):
    mine, theirs = new_api(), new_api()
    own = mine.create_v0("own")
    with contextlib.closing(server.database.connect_admin()) as admin:
        team = one(admin, "SELECT team_id FROM tickets WHERE id = %s", own["id"])
    become(app, team, mine.token_id)

    with app.cursor() as cur, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cur.execute("UPDATE tickets SET token_id = %s WHERE id = %s", (theirs.token_id, own["id"]))
    app.rollback()
    become(app, "another team", "")
    assert one(app, "SELECT count(*) FROM tickets") == 0


@pytest.mark.only_backend("postgres")
def test_one_requests_caller_does_not_leak_into_the_next_on_its_connection(new_api):
    apis = [new_api() for _ in range(4)]
    own = [{api.create_v1(f"t{i}")["id"] for i in range(3)} for api in apis]

    for _ in range(15):
        for api, ids in zip(apis, own):
            assert {t["id"] for t in api.list_v1()["data"]} == ids

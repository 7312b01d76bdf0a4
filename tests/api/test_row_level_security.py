"""PostgreSQL keeps teams apart even where a statement forgot its WHERE: every table that has a
team_id, found in the catalogue, so a new table is covered on the day it is made."""

import contextlib
import re

import psycopg2
import pytest
from harness.truth import value
from harness.world import MAKERS, World

pytestmark = pytest.mark.only_backend("postgres")


@pytest.fixture(scope="module")
def worlds(make_server, tmp_path_factory):
    """A victim with an object of every kind, and a stranger."""
    folder = tmp_path_factory.mktemp("rls")
    server = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                          "TESSERA_TMP_DIR": str(folder)})
    victim, stranger = World(server), World(server)
    for parameter in MAKERS:
        victim.id_of(parameter)
    victim.api.post("/v1/projects", {"key": "IDEM", "name": "x"},
                    headers={"Idempotency-Key": "one"})
    stranger.id_of("ticket_id")
    yield victim, stranger
    server.close()


@pytest.fixture
def app(worlds):
    """A connection with the rights of the server itself, in the stranger's scope."""
    victim, stranger = worlds
    with contextlib.closing(victim.server.database.connect()) as conn:
        scope(conn, stranger.id)
        yield conn


def scope(conn, team_id, token_id="", system=""):
    with conn.cursor() as cur:
        cur.execute("SELECT set_config('tessera.team', %s, false), "
                    "set_config('tessera.token', %s, false), "
                    "set_config('tessera.system', %s, false)", (team_id, token_id, system))


def relations(conn, kinds):
    """Names of all tables or views that have a team_id."""
    with conn.cursor() as cur:
        cur.execute("SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
                    "WHERE a.attname = 'team_id' AND c.relkind = ANY(%s) "
                    "AND c.relnamespace = 'public'::regnamespace ORDER BY 1", (list(kinds),))
        return [row[0] for row in cur.fetchall()]


def query(conn, statement, *args):
    with conn.cursor() as cur:
        cur.execute(statement, args)
        return cur.fetchall()


def one(conn, statement, *args):
    return query(conn, statement, *args)[0][0]


def test_the_role_of_the_server_has_no_special_right(app):
    assert one(app, "SELECT rolsuper OR rolbypassrls FROM pg_roles "
                    "WHERE rolname = current_user") is False


def test_every_table_with_a_team_forces_row_security(app):
    found = query(app, "SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity, count(p.oid) "
                       "FROM pg_class c LEFT JOIN pg_policy p ON p.polrelid = c.oid "
                       "WHERE c.relname = ANY(%s) GROUP BY 1, 2, 3", relations(app, "rp"))
    assert len(found) >= 12, found
    assert [row for row in found if not (row[1] and row[2] and row[3])] == []


def test_every_view_asks_with_the_rights_of_the_caller(app):
    views = relations(app, "vm")
    options = dict(query(app, "SELECT relname, reloptions::text FROM pg_class "
                              "WHERE relname = ANY(%s)", views))
    assert views and all("security_invoker=true" in (options[v] or "") for v in views), options


def test_team_id_leads_every_primary_key(app):
    """So that the rows of a team lie together, and keys of two teams cannot collide."""
    late = query(app, "SELECT c.relname, a.attname FROM pg_index i JOIN pg_class c ON c.oid = "
                      "i.indrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = "
                      "i.indkey[0] WHERE i.indisprimary AND c.relname = ANY(%s) "
                      "AND a.attname <> 'team_id'", relations(app, "rp"))
    by_time = {name for name, _ in late if name.startswith("integration_token_usage")}
    assert {name for name, _ in late} == by_time, late


def test_without_a_where_no_row_of_another_team_is_seen(worlds, app):
    victim, stranger = worlds
    with contextlib.closing(victim.server.database.connect_admin()) as admin:
        for name in relations(app, "rpvm"):
            own = one(admin, f'SELECT count(*) FROM "{name}" WHERE team_id = %s', stranger.id)
            assert one(app, f'SELECT count(*) FROM "{name}"') == own, name
            asked = one(app, f'SELECT count(*) FROM "{name}" WHERE team_id = %s', victim.id)
            assert asked == 0, name


def test_the_victim_has_rows_in_the_tables_that_matter(worlds, app):
    victim, _ = worlds
    with contextlib.closing(victim.server.database.connect_admin()) as admin:
        filled = {name for name in relations(app, "rp")
                  if one(admin, f'SELECT count(*) FROM "{name}" WHERE team_id = %s', victim.id)}
    assert {"tickets", "ticket_comments", "integration_tokens", "idempotency_keys", "audit_log",
            "audit_head", "project"} <= filled, filled
    assert len(filled) >= 12, filled


def test_without_a_scope_nothing_is_seen(worlds):
    victim, _ = worlds
    with contextlib.closing(victim.server.database.connect()) as conn:
        for name in relations(conn, "rpvm"):
            assert one(conn, f'SELECT count(*) FROM "{name}"') == 0, name


def test_a_change_without_a_where_touches_own_rows_only(worlds, app):
    victim, stranger = worlds
    victims = {}
    with contextlib.closing(victim.server.database.connect_admin()) as admin:
        for name in relations(app, "rp"):
            if name == "audit_log":         # refuses every change
                continue
            count = f'SELECT count(*) FROM "{name}" WHERE team_id = %s'
            victims[name] = one(admin, count, victim.id)
            own = one(admin, count, stranger.id)
            with app.cursor() as cur:
                cur.execute(f'UPDATE "{name}" SET team_id = team_id')
                assert cur.rowcount == own, name
            app.rollback()
            scope(app, stranger.id)
            with app.cursor() as cur, contextlib.suppress(psycopg2.errors.ForeignKeyViolation):
                cur.execute(f'DELETE FROM "{name}"')
                assert cur.rowcount == own, name
            app.rollback()
            scope(app, stranger.id)
        for name, n in victims.items():
            assert one(admin, f'SELECT count(*) FROM "{name}" WHERE team_id = %s',
                       victim.id) == n, name


def test_a_row_cannot_be_written_into_another_team(worlds, app):
    """A copy of an own row (any row when there is none) under the victim's id is refused."""
    victim, stranger = worlds
    for name in relations(app, "rp"):
        with contextlib.closing(victim.server.database.connect_admin()) as admin:
            with admin.cursor() as cur:
                cur.execute(f'SELECT * FROM "{name}" LIMIT 1')
                row = cur.fetchone()
                columns = [c[0] for c in cur.description]
        if not row:
            continue
        row = dict(zip(columns, row), team_id=victim.id)
        places = ", ".join(["%s"] * len(row))
        with app.cursor() as cur:
            with pytest.raises(psycopg2.errors.InsufficientPrivilege):
                cur.execute(f'INSERT INTO "{name}" ({", ".join(row)}) VALUES ({places})',
                            list(row.values()))
        app.rollback()
        scope(app, stranger.id)


def test_an_own_row_cannot_be_moved_into_another_team(worlds, app):
    victim, stranger = worlds
    with app.cursor() as cur, pytest.raises(psycopg2.errors.InsufficientPrivilege):
        cur.execute("UPDATE tickets SET team_id = %s", (victim.id,))
    app.rollback()


# --- statements of the product itself, with their WHERE taken away --------------------------------


def product_statements(server):
    """SELECTs that the running server has prepared and used, from its own source of truth: the
    texts in the binary."""
    with open(server.binary, "rb") as f:
        found = re.findall(rb"SELECT [ -~]{20,2000}? FROM [a-z_]+ WHERE team_id = \$1[ -~]*",
                           f.read())
    return sorted({text.decode().split("\0")[0] for text in found})


def test_statements_of_the_product_without_their_where_show_own_rows_only(worlds, app):
    victim, stranger = worlds
    texts = product_statements(victim.server)
    tried = 0
    for text in texts:
        bare = re.match(r"SELECT (.*?) FROM ([a-z_]+) WHERE ", text)
        if not bare or re.search(r"\$\d|count\(|sum\(|max\(|coalesce\(", bare.group(1), re.I):
            continue
        table = bare.group(2)
        try:
            rows = query(app, f"SELECT team_id, {bare.group(1)} FROM {table}")
        except psycopg2.Error:
            app.rollback()
            scope(app, stranger.id)
            continue
        tried += 1
        assert {row[0] for row in rows} <= {stranger.id}, text
    assert tried >= 5, texts


def test_the_server_answers_as_before(worlds):
    victim, _ = worlds
    assert victim.state()
    assert value(victim.server, "SELECT count(*) FROM tickets") >= 2


def test_secrets_of_people_are_for_the_server_itself_alone(worlds, app):
    """Tables about a user and not about a team; whoever is in a team sees its members alone."""
    victim, stranger = worlds
    with contextlib.closing(victim.server.database.connect_admin()) as admin:
        for name in ("user_session", "password_reset", "totp_pending", "recovery_code",
                     "user_identity"):
            assert one(app, f'SELECT count(*) FROM "{name}"') == 0, name
        members = one(admin, "SELECT count(*) FROM team_member WHERE team_id = %s", stranger.id)
        assert one(app, "SELECT count(*) FROM app_user") == members
        assert one(admin, "SELECT count(*) FROM app_user") > members
        assert one(admin, "SELECT count(*) FROM password_reset") > 0

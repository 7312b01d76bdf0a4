"""A token sees only its own tickets: by every route, and in PostgreSQL by the database itself."""

import contextlib
import re
import uuid

import psycopg2
import pytest
from harness.client import contract_of
from harness.server import V0
from harness.tenants import Person
from harness.world import (MAKERS, NOT_OF_A_TEAM, World, body_schema, parameters_of, reference,
                           request_for)


def body_for(method, template):
    """A body that the route would accept from the owner."""
    if method not in ("POST", "PATCH", "PUT"):
        return None
    if template.endswith("/comments"):
        return {"content": "stolen"}
    if template.endswith("/status"):
        return {"status": "closed"}
    if template.endswith("/assign"):
        return {"assignee_id": None}
    if template.endswith("/watchers"):
        return {"kind": "agent", "id": str(uuid.uuid4())}
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
        path = re.sub(r"\{\w+\}", victim["id"], template)
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


# --- another team: every route, made from the server's own description ----------------------------


@pytest.fixture(scope="module")
def worlds(make_server, tmp_path_factory):
    """Two teams on one server: the victim, with an object of every kind, and the stranger."""
    folder = tmp_path_factory.mktemp("isolation")
    server = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                          "TESSERA_TMP_DIR": str(folder)})
    owner = Person(server, "viewer")
    victim, stranger = World(server), World(server, owner=owner.email)
    owner.act_in(stranger.id)
    stranger.owner = owner
    for parameter in MAKERS:
        victim.id_of(parameter)
    yield victim, stranger
    server.close()


# Calls on what belongs to a user and to no team, each with the test that covers it.
OF_THE_USER = {
    "/v1/sessions/{session_id}": "test_a_user_cannot_end_the_session_of_another",
}


def operations(world, with_ids=True):
    """(method, template, operation) of all calls that act in a team."""
    return [(m, t, o) for m, t, o in contract_of(world.server).operations()
            if bool(set(parameters_of(t)) - set(NOT_OF_A_TEAM)) == with_ids
            and o.get("security") != [] and t not in OF_THE_USER]


def is_for_users_only(operation):
    return operation.get("security") == [{"session": []}, {"jwt": []}]


def test_every_path_parameter_has_a_maker(worlds):
    victim, _ = worlds
    unknown = {p for _, t, _ in operations(victim) for p in parameters_of(t)} - set(MAKERS)
    assert not unknown, f"add to harness/world.py MAKERS: {unknown}"
    assert len(operations(victim)) > 30


def wrong_answers(client, victim, stranger):
    """What is not 404 when `client`, of the stranger's team, names the victim's objects: all ids of
    the other team, and each one alone among ids of the own."""
    for method, template, operation in operations(victim):
        names = parameters_of(template)
        is_v0 = template.startswith(V0)
        expected = (403 if is_for_users_only(operation) and client is stranger.api else
                    401 if is_v0 and client is not stranger.api else 404)
        for foreign in [names] if len(names) == 1 else [names, *([n] for n in names)]:
            path = template
            for name in names:
                owner = victim if name in foreign else stranger
                path = path.replace("{" + name + "}", owner.id_of(name))
            reply = client.request(method, path,
                                   **request_for(stranger, method, template, operation))
            if reply.status_code != expected or victim.word in reply.text:
                yield (f"{method} {template} with the other team's {foreign}: "
                       f"{reply.status_code} {reply.text[:200]}")


def test_every_route_with_anothers_id_is_404_for_a_key(worlds):
    victim, stranger = worlds
    before = victim.state()
    wrong = list(wrong_answers(stranger.api, victim, stranger))
    assert not wrong, "\n".join(wrong)
    assert victim.state() == before


def test_every_route_with_anothers_id_is_404_for_an_owner_who_is_signed_in(worlds):
    victim, stranger = worlds
    assert stranger.owner.get("/v1/audit").status_code == 200
    before = victim.state()
    wrong = list(wrong_answers(stranger.owner, victim, stranger))
    assert not wrong, "\n".join(wrong)
    assert victim.state() == before


def test_a_user_cannot_act_in_a_team_of_others(worlds):
    victim, stranger = worlds
    for team in (victim.id, victim.slug):
        for path in ("/v1/tickets", "/v1/audit", f"/v1/teams/{victim.id}"):
            reply = stranger.owner.get(path, headers={"Tessera-Team": team})
            assert reply.status_code == 404 and victim.word not in reply.text, (team, path)


def test_a_key_cannot_act_in_another_team_than_its_own(worlds):
    victim, stranger = worlds
    for team in (victim.id, victim.slug):
        reply = stranger.api.get("/v1/tickets", headers={"Tessera-Team": team})
        assert reply.status_code == 404 and victim.word not in reply.text


def test_a_user_cannot_end_the_session_of_another(worlds):
    _, stranger = worlds
    other = Person(stranger.server, "viewer")
    for client in (stranger.owner, stranger.api):
        reply = client.delete(f"/v1/sessions/{other.session_id}")
        assert reply.status_code == (404 if client is stranger.owner else 403), reply.text
    assert other.get("/v1/me").status_code == 200
    assert other.session_id not in stranger.owner.get("/v1/sessions").text


def test_the_same_requests_succeed_in_the_own_team(worlds):
    """Else the test above might see 404 for another reason than the team."""
    victim, _ = worlds
    world, wrong = World(victim.server), []
    for method, template, operation in sorted(operations(world), key=lambda o: o[0] == "DELETE"):
        if is_for_users_only(operation):
            continue
        if method == "DELETE":          # what it deletes nobody else needs
            world.ids.pop(parameters_of(template)[-1], None)
        reply = world.api.request(method, world.fill(template),
                                  **request_for(world, method, template, operation))
        is_kept = (method, template) == ("DELETE", "/v1/teams/{team_id}")   # it has objects
        if reply.status_code >= 300 and not (is_kept and reply.status_code == 409):
            wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:200]}")
        if method == "DELETE":
            world.ids.pop(parameters_of(template)[-1], None)
    assert not wrong, "\n".join(wrong)


def test_no_list_shows_anything_of_another_team(worlds):
    victim, stranger = worlds
    tried, wrong = 0, []
    for method, template, operation in operations(victim, with_ids=False):
        if method != "GET" or is_for_users_only(operation):
            continue
        tried += 1
        text = stranger.api.get(template).text
        found = [word for word in (*victim.ids.values(), victim.word, victim.slug) if word in text]
        if found:
            wrong.append(f"GET {template}: {found}")
    assert tried >= 10
    assert not wrong, "\n".join(wrong)


def test_a_filter_by_anothers_id_finds_nothing(worlds):
    victim, stranger = worlds
    contract, wrong = contract_of(victim.server), []
    for method, template, operation in (operations(victim) + operations(victim, with_ids=False)):
        for parameter in map(contract.deref, operation.get("parameters", [])):
            kind = reference(parameter["name"], parameter["schema"])
            if method != "GET" or parameter["in"] != "query" or not kind:
                continue
            reply = stranger.api.get(stranger.fill(template),
                                     params={parameter["name"]: victim.id_of(kind)})
            if template == "/v1/usage/timeseries":      # a line of zeros
                assert {at["requests"] for at in reply.json()["data"]} == {0}
                continue
            is_empty = (reply.status_code == 200 and victim.word not in reply.text
                        and not (reply.headers["Content-Type"].startswith("application/json")
                                 and reply.json().get("data")))
            if not is_empty and reply.status_code not in (404, 422):
                wrong.append(f"GET {template}?{parameter['name']}: {reply.text[:200]}")
    assert not wrong, "\n".join(wrong)


def test_a_body_cannot_name_an_object_of_another_team(worlds):
    victim, stranger = worlds
    contract, tried, wrong = contract_of(victim.server), [], []
    before = victim.state()
    for method, template, operation in (operations(victim) + operations(victim, with_ids=False)):
        properties = (body_schema(contract, operation) or {}).get("properties", {})
        for name, schema in properties.items():
            kind = reference(name, schema)
            if template.endswith("/watchers") and name == "id":
                kind = "contact_id"
            if not kind or is_for_users_only(operation):
                continue
            sent = request_for(stranger, method, template, operation)["json"]
            own = victim.id_of(kind)
            sent[name] = [own] if "array" in str(schema.get("type")) else own
            reply = stranger.api.request(method, stranger.fill(template), json=sent)
            tried.append((method, template, name))
            if reply.status_code not in (404, 409, 422) or victim.word in reply.text:
                wrong.append(f"{method} {template} {sent}: {reply.status_code} {reply.text[:200]}")
    assert len(tried) >= 8, tried
    assert not wrong, "\n".join(wrong)
    assert victim.state() == before


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
                                   "recent_token_usage",
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

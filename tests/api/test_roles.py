"""Who may call what, for every route of the server's own description: scopes of keys, roles of
people, and the printed table that both come from."""

import re

import pytest
from harness.client import Api, assert_problem, contract_of
from harness.server import V0
from harness.tenants import Person
from harness.world import MAKERS, NOT_OF_A_TEAM, World, parameters_of, request_for

ROLES = ["viewer", "agent", "admin", "owner"]
ABSENT = "01890000-0000-7000-8000-000000000000"

# Routes without an action, each with its reason.
PROVEN_BY_SIGNATURE = {"/hooks/{integration_id}"}      # of a team, and public: test_hooks_in.py
WITHOUT_ACTION = {
    ("GET", "/v1/teams"): "the teams of the one who asks",
}


@pytest.fixture(scope="module")
def world(make_server, tmp_path_factory):
    """A team with an object of every kind, on a server of its own."""
    folder = tmp_path_factory.mktemp("roles")
    server = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                          "TESSERA_TMP_DIR": str(folder)})
    made = World(server)
    for parameter in MAKERS:
        made.id_of(parameter)
    yield made
    server.close()


@pytest.fixture(scope="module")
def table(world):
    """{action: (least role, is a scope of keys)} as `tessera roles` prints it."""
    found, is_scope = {}, True
    for line in world.server.cli("roles", "--markdown").splitlines():
        is_scope = is_scope and not line.startswith("## Administration")
        row = re.fullmatch(r"\| `([a-z:]+)` \|(.*?)\|(.*?)\|(.*?)\|(.*?)\| .+ \|", line)
        if row:
            may = [cell.strip() == "yes" for cell in row.groups()[1:]]
            assert may == sorted(may), f"a lower role may what a higher may not: {line}"
            found[row[1]] = (ROLES[may.index(True)], is_scope)
    return found


def all_operations(server):
    return list(contract_of(server).operations())


def is_public(operation):
    return operation.get("security") == []


def is_for_users_only(operation):
    return operation.get("security") == [{"session": []}, {"jwt": []}]


def absent(template):
    """The path with ids that name nothing."""
    for parameter in parameters_of(template):
        template = template.replace("{" + parameter + "}", ABSENT)
    return template


# --- the tables agree -----------------------------------------------------------------------------


def test_the_17_scopes_and_the_roles_of_administration(table):
    assert sum(is_scope for _, is_scope in table.values()) == 17
    assert table["admin:full"] == ("owner", True)
    for action in ("keys:manage", "users:manage"):
        assert table[action][0] == "admin"
    assert table["audit:read"][0] == "owner"


def test_every_route_names_its_action_or_its_reason(world, table):
    missing = [(m, t) for m, t, o in all_operations(world.server)
               if not is_public(o) and not is_for_users_only(o) and not o.get("x-scopes")
               and t != V0 and (m, t) not in WITHOUT_ACTION]
    assert missing == []
    for method, template, operation in all_operations(world.server):
        scopes = operation.get("x-scopes", [])
        assert set(scopes) <= set(table), (method, template)
        if scopes:
            least = max((ROLES.index(table[s][0]) for s in scopes))
            assert operation["x-least-role"] == ROLES[least], (method, template)


def test_nothing_public_is_of_a_team(world):
    public = {t for _, t, o in all_operations(world.server) if is_public(o)}
    assert PROVEN_BY_SIGNATURE <= public
    public -= PROVEN_BY_SIGNATURE
    assert not {p for t in public for p in parameters_of(t)} - set(NOT_OF_A_TEAM)


# --- keys -----------------------------------------------------------------------------------------


def test_without_a_token_every_route_is_401(world):
    nobody, wrong = Api(world.server), []
    for method, template, operation in all_operations(world.server):
        if is_public(operation):
            continue
        status = nobody.request(method, absent(template)).status_code
        if status != 401:
            wrong.append((method, template, status))
    assert wrong == []


def test_a_key_without_the_scope_gets_403_that_names_it(world, table):
    """By a key with every other scope, wildcards included."""
    wrong, apis = [], {}
    plain = sorted(s for s, (_, is_scope) in table.items() if is_scope and s != "admin:full")
    for method, template, operation in all_operations(world.server):
        for scope in operation.get("x-scopes", []):
            others = tuple(s for s in plain if s != scope)
            if others not in apis:
                apis[others] = world.api_with(list(others))
            reply = apis[others].request(method, absent(template))
            text = reply.json().get("detail") or reply.json().get("message", "")
            named = scope if table[scope][1] else "admin:full"
            if (reply.status_code != 403 or "insufficient_scope" not in reply.text
                    or not (scope in text or named in text)):
                wrong.append(f"{method} {template} without {scope}: {reply.status_code} {text}")
    assert not wrong, "\n".join(wrong)


def test_a_key_with_just_the_scope_is_let_in(world, table):
    wrong, apis = [], {}
    for method, template, operation in all_operations(world.server):
        scopes = tuple(operation.get("x-scopes", []))
        if not scopes or not all(table[s][1] for s in scopes) or is_for_users_only(operation):
            continue
        if scopes not in apis:
            apis[scopes] = world.api_with(list(scopes))
        status = apis[scopes].request(method, absent(template)).status_code
        if status in (401, 403):
            wrong.append(f"{method} {template} with {scopes}: {status}")
    assert not wrong, "\n".join(wrong)


def test_routes_of_people_refuse_every_key(world):
    wrong = []
    for method, template, operation in all_operations(world.server):
        if is_for_users_only(operation):
            reply = world.api.request(method, absent(template))
            if reply.status_code != 403 or reply.json()["code"] != "user_required":
                wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:100]}")
    assert not wrong, "\n".join(wrong)


def test_a_key_with_admin_full_is_stopped_nowhere_else(world):
    wrong = []
    for method, template, operation in all_operations(world.server):
        if is_for_users_only(operation) or is_public(operation):
            continue
        status = world.api.request(method, absent(template)).status_code
        if status in (401, 403):
            wrong.append(f"{method} {template}: {status}")
    assert not wrong, "\n".join(wrong)


# --- people ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people(world):
    """A signed-in user of each role in the default team."""
    return [Person(world.server, role) for role in ROLES]


def test_a_user_gets_403_exactly_where_the_least_role_is_above_his(world, people):
    wrong, refused = [], 0
    for person in people:
        for method, template, operation in all_operations(world.server):
            least = operation.get("x-least-role")
            if not least or template.startswith(V0):
                continue
            reply = person.request(method, absent(template))
            is_refused = (reply.status_code == 403
                          and reply.json()["code"] == "insufficient_role")
            refused += is_refused
            if is_refused != (ROLES.index(least) > ROLES.index(person.role)):
                wrong.append(f"{person.role}: {method} {template} needs {least}: "
                             f"{reply.status_code} {reply.text[:150]}")
    assert not wrong, "\n".join(wrong)
    assert refused > 50


def test_the_refusal_names_the_role_and_what_is_needed(people):
    viewer = people[0]
    body = assert_problem(viewer.get("/v1/audit"), 403, "insufficient_role")
    assert "viewer" in body["detail"] and "owner" in body["detail"]


def test_users_do_not_reach_the_documents_api(world, people):
    wrong = [t for m, t, _ in all_operations(world.server) if t.startswith(V0)
             and people[-1].request(m, absent(t)).status_code != 401]
    assert wrong == []


def test_a_user_may_what_the_role_may_only_in_that_team(world, people):
    """An owner of the default team is a stranger in another."""
    owner = people[-1]
    for team in (world.id, world.slug):
        reply = owner.get("/v1/tickets", headers={"Tessera-Team": team})
        assert_problem(reply, 404, "not_found")

"""Agents: create, read, change, delete, availability; who may, and what is refused."""

import time
import uuid

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.tenants import Tenant

PATH = "/v1/agents"
ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def team(common_server):
    return Tenant(common_server)


@pytest.fixture
def admin(server, team):
    return team.api


def create(api, name="Ada", **fields):
    reply = api.post(PATH, {"kind": "bot", "name": name, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def new_user(server, team_id):
    """A user that is a member of the team; its id."""
    user_id, now = str(uuid.uuid4()), int(time.time() * 1000)
    truth.execute(server, "INSERT INTO app_user (id, email, name, status, created_ms, updated_ms) "
                  "VALUES (?, ?, 'A user', 'active', ?, ?)", user_id, f"{user_id}@x.example", now,
                  now)
    truth.execute(server, "INSERT INTO team_member (team_id, user_id, role, created_ms) "
                  "VALUES (?, ?, 'agent', ?)", team_id, user_id, now)
    return user_id


def found(api, **params):
    """Ids over all pages."""
    ids, cursor = [], None
    for _ in range(100):
        reply = api.get(PATH, params={**params, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, reply.text
        ids += [a["id"] for a in reply.json()["data"]]
        cursor = reply.json()["next_cursor"]
        if not cursor:
            return ids
    raise AssertionError("paging does not end")


# --- create and read ------------------------------------------------------------------------------


def test_an_agent_comes_back_as_it_was_given(admin):
    given = {"kind": "bot", "name": "Röbot", "email": "bot@acme.example", "teams": ["Billing"],
             "skills": ["French", "German"], "availability": "busy", "status": "inactive",
             "max_open": 10, "metadata": {"a": [1.5]}}

    reply = admin.post(PATH, given)

    assert reply.status_code == 201, reply.text
    agent = reply.json()
    assert {k: agent[k] for k in given} == given
    assert agent["user_id"] is None and agent["version"] == 1
    assert reply.headers["Location"] == f"{PATH}/{agent['id']}"
    assert reply.headers["ETag"] == '"v1"'
    assert admin.get(f"{PATH}/{agent['id']}").json() == agent
    assert admin.get(f"{PATH}/{agent['id']}",
                     headers={"If-None-Match": '"v1"'}).status_code == 304


def test_what_is_not_said_has_a_default(admin):
    agent = create(admin)

    assert [agent[k] for k in ("availability", "status", "max_open", "email")] == [
        "offline", "active", None, None]
    assert (agent["teams"], agent["skills"], agent["metadata"]) == ([], [], {})


def test_an_agent_may_be_a_user_of_the_team_once(server, team, admin):
    user = new_user(server, team.id)

    agent = create(admin, kind="user", user_id=user)

    assert agent["user_id"] == user
    assert_problem(admin.post(PATH, {"kind": "user", "user_id": user, "name": "Twin"}), 409,
                   "already_exists")
    admin.delete(f"{PATH}/{agent['id']}")
    assert create(admin, kind="user", user_id=user)["id"] != agent["id"]


@pytest.mark.parametrize("body,field", [
    ({"name": "x"}, "kind"), ({"kind": "bot"}, "name"), ({"kind": "robot", "name": "x"}, "kind"),
    ({"kind": "bot", "name": " "}, "name"), ({"kind": "bot", "name": "x" * 201}, "name"),
    ({"kind": "user", "name": "x"}, "user_id"),
    ({"kind": "user", "name": "x", "user_id": ABSENT}, "user_id"),
    ({"kind": "user", "name": "x", "user_id": "me"}, "user_id"),
    ({"kind": "bot", "name": "x", "user_id": ABSENT}, "user_id"),
    ({"kind": "bot", "name": "x", "email": "nobody"}, "email"),
    ({"kind": "bot", "name": "x", "teams": [" "]}, "teams"),
    ({"kind": "bot", "name": "x", "skills": ["s" * 65]}, "skills"),
    ({"kind": "bot", "name": "x", "skills": ["s"] * 51}, "skills"),
    ({"kind": "bot", "name": "x", "availability": "asleep"}, "availability"),
    ({"kind": "bot", "name": "x", "status": "gone"}, "status"),
    ({"kind": "bot", "name": "x", "max_open": 0}, "max_open"),
    ({"kind": "bot", "name": "x", "max_open": 100001}, "max_open"),
    ({"kind": "bot", "name": "x", "metadata": 1}, "metadata"),
    ({"kind": "bot", "name": "x", "stranger": 1}, "stranger"),
])
def test_what_is_wrong_is_named(admin, body, field):
    assert_problem(admin.post(PATH, body), 422, fields=[field])


def test_a_user_of_another_team_is_no_user_here(server, admin):
    stranger = new_user(server, Tenant(server).id)

    assert_problem(admin.post(PATH, {"kind": "user", "user_id": stranger, "name": "x"}), 422,
                   fields=["user_id"])


@pytest.mark.parametrize("method,path,body", [
    ("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None),
    ("POST", "/availability", {"availability": "away"})])
def test_ids_that_are_not_there_are_404_and_others_400(admin, method, path, body):
    assert_problem(admin.request(method, f"{PATH}/{ABSENT}{path}", json=body), 404, "not_found")
    assert_problem(admin.request(method, f"{PATH}/me{path}", json=body), 400, "invalid_parameter",
                   fields=["agent_id"])


# --- who may --------------------------------------------------------------------------------------


def calls(agent_id):
    one = f"{PATH}/{agent_id}"
    return [("GET", PATH, None, "read"), ("GET", one, None, "read"),
            ("POST", PATH, {"kind": "bot", "name": "x"}, "write"),
            ("PATCH", one, {"name": "y"}, "write"), ("DELETE", one, None, "write")]


def test_each_call_needs_its_scope(team, admin):
    agent = create(admin)
    readers, writers = (team.api_with([f"agents:{s}"]) for s in ("read", "write"))

    for method, path, body, scope in calls(agent["id"]):
        refused = (readers if scope == "write" else writers).request(method, path, json=body)
        assert "agents:" + scope in assert_problem(refused, 403, "insufficient_scope")["detail"]
        allowed = (writers if scope == "write" else readers).request(method, path, json=body)
        assert allowed.status_code in (200, 201, 204), f"{method} {path}: {allowed.text}"


def test_availability_of_others_needs_agents_write(team, admin):
    path, body = f"{PATH}/{create(admin)['id']}/availability", {"availability": "available"}

    refused = team.api_with(["agents:read"]).post(path, body)
    assert "agents:write" in assert_problem(refused, 403, "insufficient_scope")["detail"]
    reply = team.api_with(["agents:read", "agents:write"]).post(path, body)
    assert reply.status_code == 200 and reply.json()["availability"] == "available"
    assert reply.json()["version"] == 2 and reply.headers["ETag"] == '"v2"'


@pytest.mark.parametrize("body", [{}, {"availability": None}, {"availability": "asleep"},
                                  {"availability": "away", "name": "x"}])
def test_an_availability_must_be_one(admin, body):
    assert_problem(admin.post(f"{PATH}/{create(admin)['id']}/availability", body), 422)


def test_without_a_token_nothing_is_told(server, admin):
    for method, path, body, _ in calls(create(admin)["id"]):
        assert_problem(Api(server).request(method, path, json=body), 401, "missing_token")


def test_another_teams_agent_is_404_everywhere(server, admin):
    stranger = Tenant(server).api
    agent = create(admin, "Secret Agent", teams=["T"], skills=["S"])

    for method, path, body, _ in calls(agent["id"])[1:]:
        if agent["id"] in path:
            assert_problem(stranger.request(method, path, json=body), 404)
    assert_problem(stranger.post(f"{PATH}/{agent['id']}/availability", {"availability": "away"}),
                   404)
    for params in ({}, {"q": "secret"}, {"team": "t"}, {"skill": "s"}):
        assert found(stranger, **params) == []
    assert admin.get(f"{PATH}/{agent['id']}").json() == agent


# --- change and delete ----------------------------------------------------------------------------


def test_a_patch_changes_what_it_names(admin):
    agent = create(admin, email="a@x.example", teams=["A"], max_open=5,
                   metadata={"a": {"b": 1, "c": 2}})

    reply = admin.patch(f"{PATH}/{agent['id']}",
                        {"name": "Bea", "email": None, "teams": ["B", "b", "C"], "max_open": None,
                         "metadata": {"a": {"b": None}}}, headers={"If-Match": '"v1"'})

    assert reply.status_code == 200, reply.text
    now = reply.json()
    assert (now["name"], now["email"], now["teams"], now["max_open"]) == ("Bea", None, ["B", "C"],
                                                                          None)
    assert now["metadata"] == {"a": {"c": 2}} and now["version"] == 2
    assert agent["id"] not in found(admin, team="a")
    assert found(admin, team="c") == [agent["id"]]


@pytest.mark.parametrize("body,field", [
    ({"kind": "user"}, "kind"), ({"user_id": ABSENT}, "user_id"), ({"name": None}, "name"),
    ({"email": "x"}, "email"), ({"availability": None}, "availability"), ({"max_open": 0},
                                                                          "max_open")])
def test_a_patch_that_makes_no_sense_is_named(admin, body, field):
    assert_problem(admin.patch(f"{PATH}/{create(admin)['id']}", body), 422, fields=[field])


def test_a_stale_version_changes_nothing(admin):
    agent, stale = create(admin), {"If-Match": '"v7"'}

    assert_problem(admin.patch(f"{PATH}/{agent['id']}", {"name": "x"}, headers=stale), 412)
    assert_problem(admin.delete(f"{PATH}/{agent['id']}", headers=stale), 412)
    assert admin.get(f"{PATH}/{agent['id']}").json() == agent


def test_an_agent_with_open_tickets_stays(team, admin):
    agent = create(admin)
    by_key = team.api_with(["tickets:read", "tickets:write", "tickets:resolve"])
    tickets = [by_key.create_v1(f"t{i}", assignee_id=agent["id"]) for i in range(2)]
    writer = team.api_with(["agents:read", "agents:write"])

    problem = assert_problem(writer.delete(f"{PATH}/{agent['id']}"), 409, "conflict")
    assert "2 open tickets" in problem["detail"]

    admin.patch(f"/v1/tickets/{tickets[0]['id']}", {"status": "resolved"})
    admin.patch(f"/v1/tickets/{tickets[1]['id']}", {"assignee_id": None})
    assert writer.delete(f"{PATH}/{agent['id']}").status_code == 204
    assert admin.get(f"/v1/tickets/{tickets[0]['id']}").json()["assignee_id"] == agent["id"]


def test_a_deleted_agent_is_gone(server, admin):
    agent = create(admin, "Goner", teams=["gone"], skills=["gone"])

    assert admin.delete(f"{PATH}/{agent['id']}").status_code == 204

    for params in ({"q": "goner"}, {"team": "gone"}, {"skill": "gone"}):
        assert found(admin, **params) == []
    assert_problem(admin.get(f"{PATH}/{agent['id']}"), 404)
    assert_problem(admin.delete(f"{PATH}/{agent['id']}"), 404)
    for table in ("agent_team", "agent_skill"):
        assert truth.value(server, f"SELECT count(*) FROM {table} WHERE agent_id = ?",
                           agent["id"]) == 0
    assert_problem(admin.post("/v1/tickets", {"title": "x", "assignee_id": agent["id"]}), 422,
                   fields=["assignee_id"])


def test_changes_are_audited(server):
    team = Tenant(server)
    agent = create(team.api)
    team.api.patch(f"{PATH}/{agent['id']}", {"name": "Bea"})
    team.api.delete(f"{PATH}/{agent['id']}")

    told = truth.rows(server, "SELECT action, target_id FROM audit_log WHERE team_id = ? AND "
                      "target_type = 'agent' ORDER BY seq", team.id)

    assert told == [(f"agent.{a}", agent["id"]) for a in ("create", "update", "delete")]


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crew(common_server):
    """A team of its own with five agents."""
    team = Tenant(common_server)
    user = new_user(common_server, team.id)
    ids = [create(team.api, f"Agent {i}", kind="user" if i == 0 else "bot",
                  **({"user_id": user} if i == 0 else {}), teams=["Even", "All"] if i % 2 == 0
                  else ["all"], skills=[f"s{i}"], email=f"a{i}@100%.example",
                  availability="away" if i > 2 else "busy", status="inactive" if i == 4 else
                  "active")["id"] for i in range(5)]
    return team.api, ids


@pytest.mark.parametrize("params,wanted", [
    ({}, [0, 1, 2, 3, 4]), ({"limit": 2}, [0, 1, 2, 3, 4]), ({"kind": "user"}, [0]),
    ({"kind": "bot,user"}, [0, 1, 2, 3, 4]), ({"availability": "away"}, [3, 4]),
    ({"availability": "away,busy", "limit": 1}, [0, 1, 2, 3, 4]), ({"status": "active"},
                                                                  [0, 1, 2, 3]),
    ({"team": "EVEN"}, [0, 2, 4]), ({"team": "all", "limit": 2}, [0, 1, 2, 3, 4]),
    ({"skill": "S3"}, [3]), ({"skill": "s"}, []), ({"q": "AGENT 1"}, [1]), ({"q": "a2@100%"}, [2]),
    ({"q": "a_"}, []), ({"q": "%"}, [0, 1, 2, 3, 4]), ({"team": "even", "availability": "busy",
                                                        "kind": "bot"}, [2]),
])
def test_filters_say_which_agents_are_shown(server, crew, params, wanted):
    api, ids = crew

    assert found(api, **params) == [ids[i] for i in wanted]


@pytest.mark.parametrize("params,field", [
    ({"limit": 0}, "limit"), ({"cursor": "x"}, "cursor"), ({"kind": "robot"}, "kind"),
    ({"availability": "asleep"}, "availability"), ({"status": "gone"}, "status"),
    ({"stranger": 1}, "stranger")])
def test_parameters_that_make_no_sense_are_named(admin, params, field):
    assert_problem(admin.get(PATH, params=params), 400, "invalid_parameter", fields=[field])

"""Tickets among people: tags, projects, assignment, contacts, watchers, history, authors."""

import uuid

import pytest
from harness.client import Api, assert_problem
from harness.server import V0
from harness.truth import rows

ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def admin(common_server):
    token = common_server.new_token("admin", scopes=["admin:full"])
    return Api(common_server, token["token"], token["id"])


def made(reply):
    assert reply.status_code == 201, reply.text
    return reply.json()


@pytest.fixture
def agent(admin):
    return made(admin.post("/v1/agents", {"name": f"Agent {uuid.uuid4().hex[:8]}",
                                          "kind": "bot"}))["id"]


@pytest.fixture
def contact(admin):
    return made(admin.post("/v1/contacts", {"name": "Ann Example"}))["id"]


@pytest.fixture
def project(admin):
    return made(admin.post("/v1/projects", {"key": "P" + uuid.uuid4().hex[:6].upper(),
                                            "name": "A project"}))["id"]


def history(api, ticket_id):
    """[(action, {field: (from, to)})], newest first."""
    reply = api.get(f"/v1/tickets/{ticket_id}/activity", params={"limit": 200})
    assert reply.status_code == 200, reply.text
    return [(a["action"], {c["field"]: (c["from"], c["to"]) for c in a["changes"]})
            for a in reply.json()["data"]]


def found(api, **params):
    return [t["id"] for t in api.list_all_v1(**params)]


# --- tags -----------------------------------------------------------------------------------------


def test_a_plain_ticket_has_no_tags_and_nobody(api):
    ticket = api.create_v1()

    assert ticket["tags"] == []
    assert [ticket[k] for k in ("project_id", "assignee_id", "contact_id", "resolved_at",
                                "created_by_user")] == [None] * 5
    assert ticket["token_id"] == api.token_id


def test_tags_are_trimmed_and_kept_once_whatever_their_case(api):
    ticket = api.create_v1(tags=["  Billing ", "billing", "ÄRGER", "ärger", "vip"])

    assert ticket["tags"] == ["Billing", "ÄRGER", "vip"]
    assert api.get(f"/v1/tickets/{ticket['id']}").json()["tags"] == ticket["tags"]


def test_tickets_are_found_by_a_tag_in_any_case(new_api):
    api = new_api()
    first, _, third = (api.create_v1(tags=t)["id"] for t in (["Über"], ["other"], ["x", "über"]))

    assert found(api, tag="ÜBER") == [third, first]
    assert found(api, tag="ube") == []


def test_a_patch_replaces_tags_and_null_clears_them(new_api):
    api = new_api()
    ticket = api.create_v1(tags=["a", "b"])["id"]

    assert api.patch(f"/v1/tickets/{ticket}", {"tags": ["b", "c"]}).json()["tags"] == ["b", "c"]
    assert (found(api, tag="a"), found(api, tag="c")) == ([], [ticket])
    assert api.patch(f"/v1/tickets/{ticket}", {"title": "y"}).json()["tags"] == ["b", "c"]
    assert api.patch(f"/v1/tickets/{ticket}", {"tags": None}).json()["tags"] == []
    assert found(api, tag="b") == []


@pytest.mark.parametrize("tags", [["x" * 65], ["  "], ["a\nb"], [1], "a", ["t%d" % i for i in range(51)]])
def test_bad_tags_are_named(api, tags):
    ticket = api.create_v1()

    assert_problem(api.post("/v1/tickets", {"title": "x", "tags": tags}), 422, "invalid_field",
                   ["tags"])
    assert_problem(api.patch(f"/v1/tickets/{ticket['id']}", {"tags": tags}), 422, "invalid_field",
                   ["tags"])


def test_fifty_tags_of_sixty_four_characters_fit(api):
    tags = [f"{i:02}" + "ß" * 62 for i in range(50)]

    assert api.create_v1(tags=tags)["tags"] == tags


def test_the_documents_form_neither_takes_nor_shows_them(api):
    ticket = api.create_v0("x", tags=["a"], assignee_id=ABSENT)

    assert "tags" not in ticket and "assignee_id" not in ticket
    assert api.get(f"/v1/tickets/{ticket['id']}").json()["tags"] == []
    assert set(api.get_v0(api.create_v1(tags=["a"])["id"])) == {
        "id", "title", "description", "status", "priority", "category", "metadata", "created_at",
        "updated_at"}


def test_a_bulk_item_with_bad_tags_fails_alone(api):
    reply = api.post("/v1/tickets/bulk", {"tickets": [
        {"title": "good", "tags": ["a"]}, {"title": "bad", "tags": [""]},
        {"title": "bad", "project_id": ABSENT}]})

    results = reply.json()["data"]
    assert [r["status"] for r in results] == [201, 422, 422]
    assert results[0]["ticket"]["tags"] == ["a"]


# --- references -----------------------------------------------------------------------------------


@pytest.mark.parametrize("field", ["project_id", "assignee_id", "contact_id"])
def test_a_reference_is_set_found_and_cleared(new_api, request, field):
    api = new_api()
    fixture = {"project_id": "project", "assignee_id": "agent", "contact_id": "contact"}[field]
    target = request.getfixturevalue(fixture)
    plain = api.create_v1()["id"]
    ticket = api.create_v1(**{field: target.upper()})

    assert ticket[field] == target
    assert found(api, **{field: target}) == [ticket["id"]]
    changed = api.patch(f"/v1/tickets/{plain}", {field: target}).json()
    assert changed[field] == target
    assert found(api, **{field: target}) == [ticket["id"], plain]
    assert api.patch(f"/v1/tickets/{plain}", {field: None}).json()[field] is None
    assert found(api, **{field: target}) == [ticket["id"]]


@pytest.mark.parametrize("field", ["project_id", "assignee_id", "contact_id"])
def test_a_reference_to_nothing_is_named(api, field):
    ticket = api.create_v1()

    assert_problem(api.post("/v1/tickets", {"title": "x", field: ABSENT}), 422, "invalid_field",
                   [field])
    assert_problem(api.patch(f"/v1/tickets/{ticket['id']}", {field: ABSENT}), 422, "invalid_field",
                   [field])
    assert_problem(api.post("/v1/tickets", {"title": "x", field: "1"}), 422, "invalid_field",
                   [field])


def test_those_of_nobody_are_found(new_api, agent):
    api = new_api()
    free = api.create_v1()["id"]
    api.create_v1(assignee_id=agent)

    assert found(api, assignee_id="none") == [free]
    assert_problem(api.get("/v1/tickets", params={"assignee_id": "nobody"}), 400,
                   "invalid_parameter", ["assignee_id"])


def test_an_inactive_agent_keeps_its_tickets_and_gets_no_more(api, admin, agent):
    ticket, other = api.create_v1(assignee_id=agent)["id"], api.create_v1()["id"]
    assert admin.patch(f"/v1/agents/{agent}", {"status": "inactive"}).status_code == 200

    kept = api.patch(f"/v1/tickets/{ticket}", {"title": "y", "assignee_id": agent})
    refused = api.patch(f"/v1/tickets/{other}", {"assignee_id": agent})

    assert kept.status_code == 200
    assert_problem(refused, 422, "invalid_field", ["assignee_id"])


# --- assignment -----------------------------------------------------------------------------------


def test_assign_gives_and_takes_a_ticket(api, agent):
    path = f"/v1/tickets/{api.create_v1()['id']}"

    given = api.post(path + "/assign", {"assignee_id": agent})
    assert given.status_code == 200 and given.json()["assignee_id"] == agent
    assert given.headers["ETag"] == api.get(path).headers["ETag"]
    taken = api.post(path + "/assign", {"assignee_id": None})

    assert taken.json()["assignee_id"] is None
    assert history(api, given.json()["id"]) == [("assigned", {"assignee_id": (agent, None)}),
                                                ("assigned", {"assignee_id": (None, agent)})]


def test_assign_faults_are_named(api, agent):
    path = f"/v1/tickets/{api.create_v1()['id']}/assign"

    assert_problem(api.post(path, {}), 422, "missing_required_field", ["assignee_id"])
    assert_problem(api.post(path, {"assignee_id": ABSENT}), 422, "invalid_field", ["assignee_id"])
    assert_problem(api.post(path, {"assignee_id": agent, "title": "x"}), 422, "invalid_field",
                   ["title"])
    assert_problem(api.post(path, {"assignee_id": agent}, headers={"If-Match": '"v9"'}), 412,
                   "precondition_failed")
    assert_problem(api.post(f"/v1/tickets/{ABSENT}/assign", {"assignee_id": agent}), 404,
                   "not_found")
    assert_problem(api.post("/v1/tickets/1/assign", {"assignee_id": None}), 400,
                   "invalid_parameter", ["ticket_id"])


# --- when it was resolved -------------------------------------------------------------------------


def test_resolved_at_is_the_first_time_and_goes_with_a_reopening(api):
    path = f"/v1/tickets/{api.create_v1()['id']}"

    first = api.patch(path, {"status": "resolved"}).json()
    closed = api.patch(path, {"status": "closed", "title": "y"}).json()
    assert first["resolved_at"] == first["updated_at"] == closed["resolved_at"]
    assert api.patch(path, {"status": "open"}).json()["resolved_at"] is None
    assert api.get(path).json()["resolved_at"] is None

    born = api.create_v1(status="closed")
    assert born["resolved_at"] == born["created_at"]


# --- watchers -------------------------------------------------------------------------------------


def test_watchers_come_and_go(api, agent, contact):
    path = f"/v1/tickets/{api.create_v1()['id']}/watchers"

    reply = api.post(path, {"kind": "agent", "id": agent})
    assert reply.status_code == 201
    assert (reply.json()["kind"], reply.json()["id"]) == ("agent", agent)
    assert reply.headers["Location"] == f"{path}/{agent}"
    made(api.post(path, {"kind": "contact", "id": contact}))
    listed = api.get(path).json()["data"]
    assert {(w["kind"], w["id"]) for w in listed} == {("agent", agent), ("contact", contact)}

    assert api.delete(f"{path}/{agent}").status_code == 204
    assert [w["id"] for w in api.get(path).json()["data"]] == [contact]
    assert_problem(api.delete(f"{path}/{agent}"), 404, "not_found")


def test_watchers_are_listed_in_pages(api, admin):
    path = f"/v1/tickets/{api.create_v1()['id']}/watchers"
    ids = sorted(made(admin.post("/v1/contacts", {"name": f"c{i}"}))["id"] for i in range(3))
    for one in ids:
        made(api.post(path, {"kind": "contact", "id": one}))

    first = api.get(path, params={"limit": 2}).json()
    rest = api.get(path, params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [w["id"] for w in first["data"] + rest["data"]] == ids
    assert rest["next_cursor"] is None


def test_watching_twice_is_409(api, agent):
    path = f"/v1/tickets/{api.create_v1()['id']}/watchers"
    made(api.post(path, {"kind": "agent", "id": agent}))

    assert_problem(api.post(path, {"kind": "agent", "id": agent}), 409, "already_exists")
    assert len(api.get(path).json()["data"]) == 1


def test_watcher_faults_are_named(api, contact):
    path = f"/v1/tickets/{api.create_v1()['id']}/watchers"

    assert_problem(api.post(path, {}), 422, "missing_required_field", ["id"])
    assert_problem(api.post(path, {"kind": "agent"}), 422, "missing_required_field", ["id"])
    assert_problem(api.post(path, {"kind": "robot", "id": contact}), 422, "invalid_field", ["kind"])
    for kind in ("user", "agent"):
        assert_problem(api.post(path, {"kind": kind, "id": contact}), 422, "invalid_field", ["id"])
    assert_problem(api.delete(path + "/1"), 400, "invalid_parameter", ["watcher_id"])
    assert_problem(api.get(f"/v1/tickets/{ABSENT}/watchers"), 404, "not_found")


# --- history --------------------------------------------------------------------------------------


def test_a_change_is_told_field_by_field(api):
    ticket = api.create_v1("before", description="d", metadata={"a": 1})
    path = f"/v1/tickets/{ticket['id']}"

    api.patch(path, {"title": "after", "description": None, "metadata": {"b": 2},
                     "status": "waiting", "tags": ["t"], "priority": "medium"})

    assert history(api, ticket["id"]) == [
        ("tags_changed", {"tags": ([], ["t"])}),
        ("status_changed", {"status": ("open", "waiting")}),
        ("updated", {"title": ("before", "after"), "description": ("d", None),
                     "metadata": ({"a": 1}, {"a": 1, "b": 2})})]


def test_a_change_that_changes_nothing_is_not_told(api):
    ticket = api.create_v1("same", tags=["a"])

    api.patch(f"/v1/tickets/{ticket['id']}", {"title": "same", "tags": ["a"], "status": "open"})

    assert history(api, ticket["id"]) == []


def test_long_values_are_cut(api):
    ticket = api.create_v1(description="é" * 600, metadata={"k": "v" * 600})

    api.patch(f"/v1/tickets/{ticket['id']}", {"description": "é" * 500, "metadata": None})

    [(_, changes)] = history(api, ticket["id"])
    assert changes["description"] == ("é" * 500, "é" * 500)
    assert changes["metadata"] == (('{"k":"' + "v" * 600)[:500], {})


def test_the_history_names_who_did_it(api, admin):
    ticket = api.create_v1()["id"]
    admin.patch(f"/v1/tickets/{ticket}", {"priority": "urgent"})
    api.patch(f"{V0}/tickets/{ticket}/status", {"status": "resolved"})

    entries = api.get(f"/v1/tickets/{ticket}/activity").json()["data"]

    assert [(e["action"], e["actor_kind"], e["actor_id"], e["actor_name"]) for e in entries] == [
        ("status_changed", "key", api.token_id, "module"),
        ("updated", "key", admin.token_id, "admin")]
    assert all(e["ticket_id"] == ticket for e in entries)


def test_watchers_and_comments_are_told(api, agent):
    ticket = api.create_v1()["id"]
    made(api.post(f"/v1/tickets/{ticket}/watchers", {"kind": "agent", "id": agent}))
    comment = made(api.post(f"/v1/tickets/{ticket}/comments", {"content": "x"}))["id"]
    api.delete(f"/v1/tickets/{ticket}/comments/{comment}")
    api.delete(f"/v1/tickets/{ticket}/watchers/{agent}")

    who = {"kind": "agent", "id": agent}
    assert history(api, ticket) == [
        ("watcher_removed", {"watcher": (who, None)}),
        ("comment_removed", {"comment_id": (comment, None)}),
        ("comment_added", {"comment_id": (None, comment)}),
        ("watcher_added", {"watcher": (None, who)})]


def test_the_history_comes_in_pages(api):
    ticket = api.create_v1("0")["id"]
    for i in range(5):
        api.patch(f"/v1/tickets/{ticket}", {"title": f"{i + 1}"})
    path, titles, cursor = f"/v1/tickets/{ticket}/activity", [], None

    for _ in range(3):
        page = api.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
        titles += [e["changes"][0]["to"] for e in page["data"]]
        cursor = page["next_cursor"]

    assert titles == ["5", "4", "3", "2", "1"] and cursor is None


def test_a_deletion_is_told_to_the_database(api, server):
    ticket = api.create_v1()["id"]

    api.delete(f"/v1/tickets/{ticket}")

    assert_problem(api.get(f"/v1/tickets/{ticket}/activity"), 404, "not_found")
    assert rows(server, "SELECT action FROM ticket_activity WHERE ticket_id = ?", ticket) == [
        ("deleted",)]


def test_a_refused_change_is_not_told(api):
    ticket = api.create_v1()

    api.patch(f"/v1/tickets/{ticket['id']}", {"title": "y", "project_id": ABSENT})
    api.patch(f"/v1/tickets/{ticket['id']}", {"title": "y"}, headers={"If-Match": '"v7"'})

    assert history(api, ticket["id"]) == []


# --- comments -------------------------------------------------------------------------------------


def test_a_comment_names_its_author_and_is_found_by_its_location(api):
    reply = api.post(f"/v1/tickets/{api.create_v1()['id']}/comments", {"content": "x"})

    comment = reply.json()
    assert (comment["author_kind"], comment["author_id"], comment["author_name"]) == (
        "key", api.token_id, "module")
    assert api.get(reply.headers["Location"]).json() == comment


def test_answers_of_others_are_seen_unless_internal(api, admin):
    path = f"/v1/tickets/{api.create_v1()['id']}/comments"
    own = made(api.post(path, {"content": "mine", "is_internal": True}))["id"]
    open_one = made(admin.post(path, {"content": "for all"}))["id"]
    hidden = made(admin.post(path, {"content": "between us", "is_internal": True}))["id"]

    assert [c["id"] for c in api.get(path).json()["data"]] == [own, open_one]
    assert [c["id"] for c in admin.get(path).json()["data"]] == [own, open_one, hidden]
    assert_problem(api.get(f"{path}/{hidden}"), 404, "not_found")
    assert_problem(api.delete(f"{path}/{hidden}"), 404, "not_found")


def test_only_its_author_or_an_admin_deletes_a_comment(api, admin):
    path = f"/v1/tickets/{api.create_v1()['id']}/comments"
    theirs = made(admin.post(path, {"content": "x"}))["id"]
    mine = [made(api.post(path, {"content": "x"}))["id"] for _ in range(2)]

    assert_problem(api.delete(f"{path}/{theirs}"), 403, "insufficient_role")
    assert api.delete(f"{path}/{mine[0]}").status_code == 204
    assert admin.delete(f"{path}/{mine[1]}").status_code == 204
    assert_problem(api.delete(f"{path}/{mine[0]}"), 404, "not_found")
    assert [c["id"] for c in api.get(path).json()["data"]] == [theirs]


def test_a_comment_is_found_under_its_own_ticket_only(api):
    ticket, other = api.create_v1()["id"], api.create_v1()["id"]
    comment = made(api.post(f"/v1/tickets/{ticket}/comments", {"content": "x"}))["id"]

    assert_problem(api.get(f"/v1/tickets/{other}/comments/{comment}"), 404, "not_found")
    assert_problem(api.delete(f"/v1/tickets/{other}/comments/{comment}"), 404, "not_found")
    assert_problem(api.get(f"/v1/tickets/{ticket}/comments/1"), 400, "invalid_parameter",
                   ["comment_id"])


# --- who may --------------------------------------------------------------------------------------


CALLS = [("POST", "/assign", {"assignee_id": None}, "tickets:write"),
         ("GET", "/watchers", None, "tickets:read"),
         ("POST", "/watchers", {"kind": "agent", "id": ABSENT}, "tickets:write"),
         ("DELETE", f"/watchers/{ABSENT}", None, "tickets:write"),
         ("GET", "/activity", None, "tickets:read"),
         ("GET", f"/comments/{ABSENT}", None, "tickets:read"),
         ("DELETE", f"/comments/{ABSENT}", None, "tickets:comment")]


@pytest.mark.parametrize("method, path, body, scope", CALLS)
def test_each_call_needs_its_scope_its_ticket_and_a_token(new_api, server, api, method, path, body,
                                                          scope):
    others = {"tickets:read", "tickets:write", "tickets:comment", "tickets:resolve"} - {scope}
    whole = f"/v1/tickets/{api.create_v1()['id']}{path}"

    lacking = new_api(scopes=sorted(others)).request(method, whole, json=body)
    foreign = new_api().request(method, whole, json=body)
    nobody = Api(server).request(method, whole, json=body)

    assert scope in assert_problem(lacking, 403, "insufficient_scope")["detail"]
    assert_problem(foreign, 404, "not_found")
    assert_problem(nobody, 401, "missing_token")


def test_a_key_with_admin_full_sees_all_of_the_team_but_not_by_the_documents_form(api, admin):
    ticket = api.create_v1(tags=[f"t{uuid.uuid4().hex}"])

    assert found(admin, tag=ticket["tags"][0]) == [ticket["id"]]
    assert admin.patch(f"/v1/tickets/{ticket['id']}", {"title": "by admin"}).status_code == 200
    assert admin.get(f"{V0}/tickets/{ticket['id']}").status_code == 404
    assert admin.patch(f"{V0}/tickets/{ticket['id']}/status",
                       {"status": "waiting"}).status_code == 401
    assert api.get_v0(ticket["id"])["title"] == "by admin"

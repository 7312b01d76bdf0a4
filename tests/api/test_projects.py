"""/v1/projects: create, get, list with filters, merge patch with If-Match, delete when empty."""

import uuid

import pytest
from harness.client import Api, assert_problem

ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def module_admin(common_server):
    token = common_server.new_token("projects admin", scopes=["admin:full"])
    return Api(common_server, token["token"], token["id"])


@pytest.fixture
def admin(server, module_admin):
    """A key that may administer."""
    return module_admin


def new_key():
    return "P" + uuid.uuid4().hex[:9].upper()


@pytest.fixture
def project(admin):
    """A new project: its fields."""
    reply = admin.post("/v1/projects", {"key": new_key(), "name": "A project"})
    assert reply.status_code == 201, reply.text
    return reply.json()


def test_create_answers_201_with_location_and_etag(admin):
    key = new_key()

    reply = admin.post("/v1/projects", {"key": key, "name": "Support", "description": "All of it"})

    assert reply.status_code == 201
    made = reply.json()
    assert (made["key"], made["name"], made["description"]) == (key, "Support", "All of it")
    assert (made["status"], made["version"]) == ("active", 1)
    assert uuid.UUID(made["id"]).version == 7
    assert reply.headers["Location"].endswith(f"/v1/projects/{made['id']}")
    assert reply.headers["ETag"] == '"v1"'
    assert admin.get(f"/v1/projects/{made['id']}").json() == made


def test_a_used_key_is_409(admin, project):
    reply = admin.post("/v1/projects", {"key": project["key"], "name": "Again"})

    problem = assert_problem(reply, 409, "already_exists")
    assert project["key"] in problem["detail"]


@pytest.mark.parametrize("key", ["A", "sup", "1AB", "S-P", "ÄB", "A" * 11, " AB"])
def test_a_malformed_key_is_named(admin, key):
    reply = admin.post("/v1/projects", {"key": key, "name": "x"})

    assert_problem(reply, 422, "invalid_field", fields=["key"])


def test_every_missing_field_is_named(admin):
    assert_problem(admin.post("/v1/projects", {}), 422, "missing_required_field",
                   fields=["key", "name"])


def test_unknown_and_read_only_fields_are_named(admin):
    reply = admin.post("/v1/projects", {"key": new_key(), "name": "x", "id": ABSENT, "owner": 1})

    assert_problem(reply, 422, "invalid_field", fields=["id", "owner"])


def test_a_body_that_is_no_json_is_400(admin):
    assert_problem(admin.post_raw("/v1/projects", b"{"), 400, "invalid_json")


def test_if_none_match_of_the_current_etag_is_304(admin, project):
    reply = admin.get(f"/v1/projects/{project['id']}", headers={"If-None-Match": '"v1"'})

    assert (reply.status_code, reply.content) == (304, b"")


def test_an_absent_project_is_404_and_a_malformed_id_400(admin):
    for method in ("GET", "PATCH", "DELETE"):
        body = {"json": {"name": "x"}} if method == "PATCH" else {}
        assert_problem(admin.request(method, f"/v1/projects/{ABSENT}", **body), 404, "not_found")
        assert_problem(admin.request(method, "/v1/projects/nope", **body), 400,
                       "invalid_parameter", fields=["project_id"])


def test_patch_changes_what_it_names_and_nothing_else(admin, project):
    path = f"/v1/projects/{project['id']}"
    admin.patch(path, {"description": "text"})

    reply = admin.patch(path, {"name": "Renamed", "status": "archived"})

    after = reply.json()
    assert reply.status_code == 200 and reply.headers["ETag"] == '"v3"'
    assert (after["name"], after["status"], after["description"], after["key"]) == (
        "Renamed", "archived", "text", project["key"])
    assert admin.patch(path, {"description": None}).json()["description"] is None
    assert_problem(admin.patch(path, {"name": None}), 422, fields=["name"])
    assert_problem(admin.patch(path, {"key": "low"}), 422, "invalid_field", fields=["key"])


def test_patch_to_a_used_key_is_409(admin, project):
    other = admin.post("/v1/projects", {"key": new_key(), "name": "other"}).json()

    reply = admin.patch(f"/v1/projects/{other['id']}", {"key": project["key"]})

    assert_problem(reply, 409, "already_exists")
    assert admin.get(f"/v1/projects/{other['id']}").json() == other


def test_if_match_of_an_old_version_is_412(admin, project):
    path = f"/v1/projects/{project['id']}"
    assert admin.patch(path, {"name": "two"}, headers={"If-Match": '"v1"'}).status_code == 200

    assert_problem(admin.patch(path, {"name": "three"}, headers={"If-Match": '"v1"'}), 412)
    assert_problem(admin.delete(path, headers={"If-Match": '"v1"'}), 412)
    assert admin.get(path).json()["name"] == "two"


def test_an_empty_project_is_deleted_and_its_key_is_free(admin, project):
    path = f"/v1/projects/{project['id']}"

    assert admin.delete(path).status_code == 204

    assert_problem(admin.get(path), 404, "not_found")
    again = admin.post("/v1/projects", {"key": project["key"], "name": "x"})
    assert again.status_code == 201


def test_a_project_with_tickets_is_not_deleted(admin, project):
    path = f"/v1/projects/{project['id']}"
    ticket = admin.create_v1("in the project", project_id=project["id"])

    assert_problem(admin.delete(path), 409, "conflict")

    assert admin.delete(f"/v1/tickets/{ticket['id']}").status_code == 204
    assert admin.delete(path).status_code == 204


def test_an_archived_or_absent_project_takes_no_tickets(admin, project):
    admin.patch(f"/v1/projects/{project['id']}", {"status": "archived"})

    for project_id in (project["id"], ABSENT):
        reply = admin.post("/v1/tickets", {"title": "x", "project_id": project_id})
        assert_problem(reply, 422, "invalid_field", fields=["project_id"])


def test_the_list_is_paged_and_filtered(admin):
    mark = uuid.uuid4().hex
    made = [admin.post("/v1/projects", {"key": new_key(), "name": f"Part {i} {mark}"}).json()
            for i in range(5)]
    admin.patch(f"/v1/projects/{made[1]['id']}", {"status": "archived"})

    found, cursor = [], None
    for _ in range(3):
        params = {"q": mark.upper(), "limit": 2, **({"cursor": cursor} if cursor else {})}
        page = admin.get("/v1/projects", params=params).json()
        found += [p["id"] for p in page["data"]]
        cursor = page["next_cursor"]
    assert cursor is None and found == [p["id"] for p in made]

    by_key = admin.get("/v1/projects", params={"q": made[2]["key"].lower()}).json()["data"]
    assert [p["id"] for p in by_key] == [made[2]["id"]]
    archived = admin.get("/v1/projects", params={"q": mark, "status": "archived"}).json()["data"]
    assert [p["id"] for p in archived] == [made[1]["id"]]
    assert admin.get("/v1/projects", params={"q": "100%"}).json()["data"] == []


@pytest.mark.parametrize("params", [{"status": "gone"}, {"limit": "0"}, {"cursor": "x"},
                                    {"sort": "name"}])
def test_a_malformed_query_is_400_and_named(admin, params):
    reply = admin.get("/v1/projects", params=params)

    assert_problem(reply, 400, "invalid_parameter", fields=list(params))


def test_without_the_right_it_is_403_and_without_a_token_401(api, anonymous, project):
    path = f"/v1/projects/{project['id']}"
    calls = [("GET", "/v1/projects", None), ("POST", "/v1/projects", {"key": "AB", "name": "x"}),
             ("GET", path, None), ("PATCH", path, {"name": "x"}), ("DELETE", path, None)]

    for method, target, body in calls:
        kwargs = {"json": body} if body else {}
        problem = assert_problem(api.request(method, target, **kwargs), 403, "insufficient_scope")
        assert "projects:" in problem["detail"]
        assert_problem(anonymous.request(method, target, **kwargs), 401, "missing_token")


def test_every_change_is_in_the_audit_log(admin, project):
    path = f"/v1/projects/{project['id']}"
    after = admin.patch(path, {"name": "Renamed"}).json()
    assert admin.delete(path).status_code == 204

    log = admin.get("/v1/audit", params={"target_id": project["id"]}).json()["data"]

    rows = {row["action"]: row for row in log}
    assert set(rows) == {"project.create", "project.update", "project.delete"}
    assert (rows["project.create"]["before"], rows["project.create"]["after"]) == (None, project)
    assert (rows["project.update"]["before"], rows["project.update"]["after"]) == (project, after)
    assert (rows["project.delete"]["before"], rows["project.delete"]["after"]) == (after, None)

"""/v1/tickets: create, get, merge patch with If-Match, soft delete, comments, problem+json."""

import re
import uuid

import pytest
from harness.client import assert_problem, assert_v0_error
from harness.server import V0
from harness.wait import wait_until

FIELDS = {"id", "title", "description", "status", "priority", "category", "metadata",
          "created_at", "updated_at"}
MILLIS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
ABSENT = "01890000-0000-7000-8000-000000000000"


def test_create_answers_201_with_location_and_etag(api):
    reply = api.post("/v1/tickets", {"title": "Printer on fire", "priority": "urgent",
                                     "category": "Hardware", "metadata": {"floor": 3}})

    assert reply.status_code == 201
    ticket = reply.json()
    assert FIELDS <= set(ticket)
    assert (ticket["title"], ticket["priority"], ticket["status"]) == (
        "Printer on fire", "urgent", "open")
    assert ticket["description"] is None and ticket["metadata"] == {"floor": 3}
    assert uuid.UUID(ticket["id"]).version == 7
    assert MILLIS.fullmatch(ticket["created_at"]) and MILLIS.fullmatch(ticket["updated_at"])
    assert reply.headers["Location"].endswith(f"/v1/tickets/{ticket['id']}")
    assert re.fullmatch(r'(W/)?"[^"]+"', reply.headers["ETag"])


def test_location_leads_to_the_same_ticket_and_etag(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path = re.sub(r"^https?://[^/]+", "", made.headers["Location"])

    got = api.get(path)

    assert got.status_code == 200
    assert got.json() == made.json()
    assert got.headers["ETag"] == made.headers["ETag"]


def test_both_forms_show_the_same_ticket(api):
    v0 = api.create_v0("made by the document's form", metadata={"a": [1, 2.5]})
    v1 = api.create_v1("made by the modern form")

    modern = api.get(f"/v1/tickets/{v0['id']}").json()

    assert {k: modern[k] for k in ("title", "status", "metadata")} == {
        "title": v0["title"], "status": "open", "metadata": {"a": [1, 2.5]}}
    assert modern["created_at"][:19] == v0["created_at"][:19]
    assert api.get_v0(v1["id"])["title"] == v1["title"]


def test_get_of_an_absent_and_of_anothers_ticket_look_the_same(api, other):
    theirs = other.create_v1("theirs")

    absent = assert_problem(api.get(f"/v1/tickets/{ABSENT}"), 404, "not_found")
    foreign = assert_problem(api.get(f"/v1/tickets/{theirs['id']}"), 404, "not_found")

    ignored = {"request_id", "instance"}
    assert {k: v for k, v in absent.items() if k not in ignored} == {
        k: v for k, v in foreign.items() if k not in ignored}


def test_invalid_id_is_an_invalid_parameter(api):
    reply = api.get("/v1/tickets/not-a-uuid")

    assert_problem(reply, 400, "invalid_parameter")


def test_if_none_match_of_the_current_etag_is_304(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path, tag = f"/v1/tickets/{made.json()['id']}", made.headers["ETag"]

    same = api.get(path, headers={"If-None-Match": tag})
    api.patch(path, {"title": "y"})
    changed = api.get(path, headers={"If-None-Match": tag})

    assert (same.status_code, same.content) == (304, b"")
    assert changed.status_code == 200 and changed.json()["title"] == "y"


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded",
                                  "application/jsonp"])
def test_other_content_types_are_415(api, kind):
    reply = api.post_raw("/v1/tickets", b'{"title":"x"}', content_type=kind)

    assert_problem(reply, 415, "unsupported_media_type")


# --- patch ---------------------------------------------------------------------------------------


def test_patch_changes_what_it_names_and_nothing_else(api):
    made = api.create_v1("before", description="kept", priority="low")

    reply = api.patch(f"/v1/tickets/{made['id']}", {"title": "after", "status": "waiting"})

    assert reply.status_code == 200
    after = reply.json()
    assert (after["title"], after["status"]) == ("after", "waiting")
    kept = FIELDS - {"title", "status", "updated_at"}
    assert {k: after[k] for k in kept} == {k: made[k] for k in kept}
    assert after["updated_at"] >= made["updated_at"]
    assert api.get(f"/v1/tickets/{made['id']}").json() == after


def test_patch_null_clears_an_optional_field(api):
    made = api.create_v1(description="text", category="c")

    after = api.patch(f"/v1/tickets/{made['id']}", {"description": None, "category": None}).json()

    assert after["description"] is None and after["category"] is None


def test_patch_null_cannot_clear_the_title(api):
    made = api.create_v1("kept")

    reply = api.patch(f"/v1/tickets/{made['id']}", {"title": None})

    assert_problem(reply, 422, fields=["title"])
    assert api.get(f"/v1/tickets/{made['id']}").json()["title"] == "kept"


def test_patch_merges_metadata_as_rfc_7396_says(api):
    made = api.create_v1(metadata={"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]})

    after = api.patch(f"/v1/tickets/{made['id']}",
                      {"metadata": {"a": None, "b": {"c": 4}, "e": [3], "f": "new"}}).json()

    assert after["metadata"] == {"b": {"c": 4, "d": 3}, "e": [3], "f": "new"}


def test_patch_takes_the_merge_patch_content_type(api):
    made = api.create_v1("x")

    reply = api.post_raw(f"/v1/tickets/{made['id']}", b'{"title":"y"}', method="PATCH",
                         content_type="application/merge-patch+json")

    assert reply.status_code == 200 and reply.json()["title"] == "y"


def test_every_change_gives_a_new_etag(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path = f"/v1/tickets/{made.json()['id']}"
    tags = [made.headers["ETag"]]
    for title in ("a", "b", "c"):
        tags.append(api.patch(path, {"title": title}).headers["ETag"])

    assert len(set(tags)) == 4
    assert api.get(path).headers["ETag"] == tags[-1]


def test_stale_if_match_is_412_and_changes_nothing(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path, old = f"/v1/tickets/{made.json()['id']}", made.headers["ETag"]
    fresh = api.patch(path, {"title": "y"}, headers={"If-Match": old})

    stale = api.patch(path, {"title": "z"}, headers={"If-Match": old})

    assert fresh.status_code == 200
    assert_problem(stale, 412, "precondition_failed")
    assert api.get(path).json()["title"] == "y"


def test_if_match_star_and_lists_are_honoured(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path, tag = f"/v1/tickets/{made.json()['id']}", made.headers["ETag"]

    listed = api.patch(path, {"title": "y"}, headers={"If-Match": f'"other", {tag}'})
    star = api.patch(path, {"title": "z"}, headers={"If-Match": "*"})

    assert (listed.status_code, star.status_code) == (200, 200)


def test_patch_names_every_wrong_field_at_once(api):
    made = api.create_v1()

    reply = api.patch(f"/v1/tickets/{made['id']}", {
        "title": "x" * 501, "priority": "none", "status": 5, "nonsense": 1, "id": ABSENT})

    assert_problem(reply, 422, fields=["title", "priority", "status", "nonsense", "id"])


def test_patch_of_anothers_ticket_is_not_found(api, other):
    theirs = other.create_v1("theirs")

    assert_problem(api.patch(f"/v1/tickets/{theirs['id']}", {"title": "mine"}), 404, "not_found")
    assert other.get(f"/v1/tickets/{theirs['id']}").json() == theirs


# --- delete --------------------------------------------------------------------------------------


def test_delete_is_204_and_the_ticket_is_gone_everywhere(new_api):
    api = new_api()
    made = api.create_v1("gone soon")
    path = f"/v1/tickets/{made['id']}"

    reply = api.delete(path)

    assert (reply.status_code, reply.content) == (204, b"")
    assert_problem(api.get(path), 404, "not_found")
    assert_problem(api.patch(path, {"title": "x"}), 404, "not_found")
    assert_problem(api.get(path + "/comments"), 404, "not_found")
    assert_problem(api.delete(path), 404, "not_found")
    assert api.list_v1()["data"] == []
    assert_v0_error(api.get(f"{V0}/tickets/{made['id']}"), 404, "not_found")
    assert_v0_error(api.patch(f"{V0}/tickets/{made['id']}/status", {"status": "open"}), 404,
                    "not_found")


def test_delete_honours_if_match(api):
    made = api.post("/v1/tickets", {"title": "x"})
    path = f"/v1/tickets/{made.json()['id']}"
    api.patch(path, {"title": "y"})

    assert_problem(api.delete(path, headers={"If-Match": made.headers["ETag"]}), 412,
                   "precondition_failed")
    assert api.get(path).status_code == 200


def test_delete_of_anothers_ticket_is_not_found(api, other):
    theirs = other.create_v1()

    assert_problem(api.delete(f"/v1/tickets/{theirs['id']}"), 404, "not_found")
    assert other.get(f"/v1/tickets/{theirs['id']}").status_code == 200


# --- comments ------------------------------------------------------------------------------------


def test_comment_create_answers_the_comment(api):
    path = f"/v1/tickets/{api.create_v1()['id']}/comments"

    reply = api.post(path, {"content": "Hello \U0001F600", "is_internal": True})

    assert reply.status_code == 201
    comment = reply.json()
    assert {"id", "content", "is_internal", "created_at"} <= set(comment)
    assert (comment["content"], comment["is_internal"]) == ("Hello \U0001F600", True)
    assert MILLIS.fullmatch(comment["created_at"])


def test_comments_are_listed_in_pages(api):
    path = f"/v1/tickets/{api.create_v1()['id']}/comments"
    made = [api.post(path, {"content": f"c{i}"}).json()["id"] for i in range(7)]

    seen, cursor = [], None
    for _ in range(10):
        page = api.get(path, params={"limit": 3, **({"cursor": cursor} if cursor else {})}).json()
        assert len(page["data"]) <= 3
        seen += [c["id"] for c in page["data"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break

    assert seen == made                  # oldest first


def test_comment_faults_are_named(api):
    path = f"/v1/tickets/{api.create_v1()['id']}/comments"

    assert_problem(api.post(path, {}), 422, "missing_required_field", ["content"])
    assert_problem(api.post(path, {"content": 1, "is_internal": "no", "other": 1}), 422,
                   fields=["content", "is_internal", "other"])
    assert_problem(api.post(f"/v1/tickets/{ABSENT}/comments", {"content": "x"}), 404, "not_found")


def test_comments_of_anothers_ticket_are_not_found(api, other):
    path = f"/v1/tickets/{other.create_v1()['id']}/comments"

    assert_problem(api.get(path), 404, "not_found")
    assert_problem(api.post(path, {"content": "x"}), 404, "not_found")


# --- errors --------------------------------------------------------------------------------------


def test_create_names_every_wrong_field_at_once(api):
    reply = api.post("/v1/tickets", {"title": 5, "description": 6, "priority": "no",
                                     "category": [], "metadata": "x", "stranger": 1})

    assert_problem(reply, 422, fields=["title", "description", "priority", "category", "metadata",
                                       "stranger"])


@pytest.mark.parametrize("field", ["id", "created_at", "updated_at", "team_id", "token_id"])
def test_fields_that_only_the_server_sets_are_refused_by_name(api, field):
    assert_problem(api.post("/v1/tickets", {"title": "x", field: "y"}), 422, fields=[field])


def test_missing_title_is_missing_required_field(api):
    assert_problem(api.post("/v1/tickets", {}), 422, "missing_required_field", ["title"])


def test_bad_json_is_a_problem_too(api):
    assert_problem(api.post_raw("/v1/tickets", b"{"), 400, "invalid_json")
    assert_problem(api.post_raw("/v1/tickets", b'{"title":"a","title":"b"}'), 400, "invalid_json")


def test_no_token_wrong_token_and_wrong_method_are_problems(api, anonymous):
    assert_problem(anonymous.get("/v1/tickets"), 401, "missing_token")
    wrong = anonymous.get("/v1/tickets", headers={"Authorization": "Bearer stk_" + "x" * 43})
    assert_problem(wrong, 401, "invalid_token")
    reply = api.request("PUT", "/v1/tickets")
    assert_problem(reply, 405, "method_not_allowed")
    assert {"GET", "POST"} <= {m.strip() for m in reply.headers["Allow"].split(",")}
    assert_problem(api.get("/v1/nothing"), 404, "not_found")


def test_updated_at_moves_with_a_change(api):
    made = api.create_v1("x")
    path = f"/v1/tickets/{made['id']}"

    wait_until(lambda: api.patch(path, {"title": "y"}).json()["updated_at"] > made["updated_at"],
               2, "updated_at moves")
    assert api.get(path).json()["created_at"] == made["created_at"]

"""The document's ticket API: create, get, comment, status, as its page says field by field."""

import re
import uuid

import pytest
from harness.client import assert_v0_error
from harness.server import V0
from harness.wait import wait_until

CREATED = ["id", "title", "description", "status", "priority", "category", "metadata",
           "created_at"]
FETCHED = CREATED + ["updated_at"]
SECONDS = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
EXAMPLE = {
    "title": "Issue with API integration",
    "description": "Detailed description of the issue",
    "priority": "high",
    "category": "Technical Support",
    "metadata": {"customer_id": "CUST-123", "reference_id": "EXT-456"},
}
STATUSES = ["open", "in_progress", "waiting", "resolved", "closed"]
# UUIDs that name nothing.
ABSENT = "01890000-0000-7000-8000-000000000000"


def test_create_answers_the_documents_example(api):
    reply = api.post(V0 + "/tickets", EXAMPLE)

    assert reply.status_code == 201
    assert list(reply.json()) == ["ticket"]
    ticket = reply.json()["ticket"]
    assert list(ticket) == CREATED
    assert {k: ticket[k] for k in EXAMPLE} == EXAMPLE
    assert ticket["status"] == "open"
    assert uuid.UUID(ticket["id"]).version == 7 and ticket["id"] == ticket["id"].lower()
    assert SECONDS.fullmatch(ticket["created_at"])


def test_title_alone_is_enough_and_the_rest_has_defaults(api):
    ticket = api.create_v0("Only a title")

    assert list(ticket) == CREATED
    assert ticket["title"] == "Only a title"
    assert ticket["status"] == "open" and ticket["priority"] == "medium"
    assert ticket["description"] is None and ticket["category"] is None
    assert ticket["metadata"] == {}


def test_get_answers_what_was_created_and_updated_at(api):
    made = api.create_v0(**EXAMPLE)

    reply = api.get(f"{V0}/tickets/{made['id']}")

    assert reply.status_code == 200
    assert list(reply.json()) == ["ticket"]
    ticket = reply.json()["ticket"]
    assert list(ticket) == FETCHED
    assert {k: ticket[k] for k in CREATED} == made
    assert SECONDS.fullmatch(ticket["updated_at"])
    assert ticket["updated_at"] >= ticket["created_at"]


@pytest.mark.parametrize("priority", ["low", "medium", "high", "urgent"])
def test_each_priority_of_the_document_is_kept(api, priority):
    assert api.create_v0(priority=priority)["priority"] == priority


@pytest.mark.parametrize("priority", ["critical", "HIGH", "", " low", 1, True, ["low"], {}])
def test_other_priorities_are_refused(api, priority):
    reply = api.post(V0 + "/tickets", {"title": "x", "priority": priority})

    assert_v0_error(reply, 400, "invalid_field")
    assert "priority" in reply.text


@pytest.mark.parametrize("body", [{}, {"title": ""}, {"title": " \t\n "}, {"title": None},
                                  {"description": "no title"}, {"Title": "wrong case"}])
def test_missing_or_blank_title_is_missing_required_field(api, body):
    reply = api.post(V0 + "/tickets", body)

    assert_v0_error(reply, 400, "missing_required_field")
    assert "title" in reply.text


@pytest.mark.parametrize("letter", ["a", "\u00e4", "\u4e2d", "\U0001F600"])
def test_title_holds_500_characters_of_any_width(api, letter):
    assert api.create_v0(letter * 500)["title"] == letter * 500
    assert_v0_error(api.post(V0 + "/tickets", {"title": letter * 501}), 400, "invalid_field")


@pytest.mark.parametrize("field,value", [
    ("title", 5), ("title", True), ("title", ["x"]), ("title", {"x": 1}),
    ("description", 5), ("description", ["x"]), ("description", False),
    ("category", 1.5), ("category", {}),
    ("metadata", []), ("metadata", "text"), ("metadata", 3), ("metadata", True),
])
def test_wrong_types_are_invalid_field_and_name_the_field(api, field, value):
    reply = api.post(V0 + "/tickets", {"title": "x", field: value})

    assert_v0_error(reply, 400, "invalid_field")
    assert field in reply.text


def test_unknown_fields_are_ignored_here(api):
    ticket = api.create_v0(id=ABSENT, status="closed", team_id="other", created_at="x", extra=[1])

    assert ticket["id"] != ABSENT and ticket["status"] == "open"
    assert list(ticket) == CREATED


def test_two_equal_creates_are_two_tickets(api):
    assert api.create_v0("same")["id"] != api.create_v0("same")["id"]


def test_text_comes_back_character_for_character(api):
    text = ("line\r\nbreak\ttab \"quote\" \\ / <b>&amp; \u202eright \u0301 "
            "\U0001F469\u200D\U0001F4BB")

    made = api.create_v0("T " + text.replace("\r\n", " "), description=text, category="c \u2603")

    ticket = api.get_v0(made["id"])
    assert ticket["description"] == text
    assert ticket["category"] == "c \u2603"


def test_sql_in_every_field_is_only_text(api):
    evil = "'); DROP TABLE tickets; -- \" $1 ? %s"
    made = api.create_v0(evil, description=evil, category=evil, metadata={evil: evil})

    ticket = api.get_v0(made["id"])

    assert (ticket["title"], ticket["description"], ticket["category"]) == (evil, evil, evil)
    assert ticket["metadata"] == {evil: evil}


def test_description_may_be_long(api):
    text = "long \u00e4 " * 14000

    assert api.get_v0(api.create_v0(description=text)["id"])["description"] == text


def test_get_of_an_absent_ticket_is_not_found(api):
    assert_v0_error(api.get(f"{V0}/tickets/{ABSENT}"), 404, "not_found")


def test_get_of_anothers_ticket_is_not_found(api, other):
    made = other.create_v0("theirs")

    body = assert_v0_error(api.get(f"{V0}/tickets/{made['id']}"), 404, "not_found")

    assert "theirs" not in str(body)


@pytest.mark.parametrize("bad", ["x", "123", "550e8400-e29b-41d4-a716", "%27%20OR%201=1",
                                 "zzzzzzzz-zzzz-zzzz-zzzz-zzzzzzzzzzzz", "a" * 200])
def test_get_with_an_invalid_id_is_400(api, bad):
    assert_v0_error(api.get(f"{V0}/tickets/{bad}"), 400, "invalid_parameter", "invalid_field")


@pytest.mark.parametrize("bad", ["%00", "%ff", "%c3%28", "x%2Fcomments"])
def test_an_id_that_is_no_text_finds_nothing(api, bad):
    reply = api.get(f"{V0}/tickets/{bad}")

    assert reply.status_code in (400, 404)
    assert_v0_error(reply, reply.status_code)


# --- comments ------------------------------------------------------------------------------------


def test_comment_answers_only_its_id(api):
    made = api.create_v0()

    reply = api.post(f"{V0}/tickets/{made['id']}/comments", {
        "content": "We have received additional information from the customer.",
        "is_internal": False})

    assert reply.status_code == 201
    assert list(reply.json()) == ["comment_id"]
    assert uuid.UUID(reply.json()["comment_id"]).version == 7


def test_comment_is_public_unless_said(api):
    ticket_id = api.create_v0()["id"]
    path = f"{V0}/tickets/{ticket_id}/comments"
    plain = api.post(path, {"content": "public"}).json()["comment_id"]
    internal = api.post(path, {"content": "hidden", "is_internal": True}).json()["comment_id"]

    listed = api.get(f"/v1/tickets/{ticket_id}/comments").json()["data"]

    assert {c["id"]: (c["content"], c["is_internal"]) for c in listed} == {
        plain: ("public", False), internal: ("hidden", True)}


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"content": None},
                                  {"is_internal": True}])
def test_comment_without_content_is_missing_required_field(api, body):
    reply = api.post(f"{V0}/tickets/{api.create_v0()['id']}/comments", body)

    assert_v0_error(reply, 400, "missing_required_field")
    assert "content" in reply.text


@pytest.mark.parametrize("body", [{"content": 1}, {"content": ["x"]},
                                  {"content": "x", "is_internal": "false"},
                                  {"content": "x", "is_internal": 0}])
def test_comment_with_wrong_types_is_invalid_field(api, body):
    reply = api.post(f"{V0}/tickets/{api.create_v0()['id']}/comments", body)

    assert_v0_error(reply, 400, "invalid_field")


def test_comment_on_an_absent_ticket_is_not_found(api):
    reply = api.post(f"{V0}/tickets/{ABSENT}/comments", {"content": "x"})

    assert_v0_error(reply, 404, "not_found")


def test_comment_on_anothers_ticket_is_unauthorized(api, other):
    made = other.create_v0()

    reply = api.post(f"{V0}/tickets/{made['id']}/comments", {"content": "x"})

    assert_v0_error(reply, 401, "invalid_token")
    assert other.get(f"/v1/tickets/{made['id']}/comments").json()["data"] == []


# --- status --------------------------------------------------------------------------------------


def test_status_answers_success_and_three_fields(api):
    made = api.create_v0()

    reply = api.patch(f"{V0}/tickets/{made['id']}/status", {"status": "resolved"})

    assert reply.status_code == 200
    assert list(reply.json()) == ["success", "ticket"]
    assert reply.json()["success"] is True
    ticket = reply.json()["ticket"]
    assert list(ticket) == ["id", "status", "updated_at"]
    assert (ticket["id"], ticket["status"]) == (made["id"], "resolved")
    assert SECONDS.fullmatch(ticket["updated_at"])
    assert api.get_v0(made["id"])["status"] == "resolved"


def test_every_status_can_follow_every_other(api):
    ticket_id = api.create_v0()["id"]
    for first in STATUSES:
        for second in STATUSES:
            for status in (first, second):
                reply = api.patch(f"{V0}/tickets/{ticket_id}/status", {"status": status})
                assert reply.status_code == 200, reply.text
            assert api.get_v0(ticket_id)["status"] == second


def test_status_moves_updated_at_and_nothing_else(api):
    made = api.create_v0(**EXAMPLE)
    before = api.get_v0(made["id"])

    def moved():
        reply = api.patch(f"{V0}/tickets/{made['id']}/status", {"status": "waiting"})
        return reply.json()["ticket"]["updated_at"] > before["updated_at"]
    wait_until(moved, 3, "updated_at moves by a second", 0.1)

    after = api.get_v0(made["id"])
    changed = {k for k in FETCHED if after[k] != before[k]}
    assert changed == {"status", "updated_at"}


@pytest.mark.parametrize("body", [{}, {"status": None}, {"status": ""}, {"state": "open"}])
def test_missing_status_is_refused(api, body):
    reply = api.patch(f"{V0}/tickets/{api.create_v0()['id']}/status", body)

    # The document has one line for "missing or invalid": an empty word is either of them.
    codes = ["missing_required_field"] + (["invalid_field"] if body.get("status") == "" else [])
    assert_v0_error(reply, 400, *codes)


@pytest.mark.parametrize("status", ["done", "OPEN", "in progress", 1, True, ["open"]])
def test_invalid_status_is_invalid_field(api, status):
    ticket_id = api.create_v0()["id"]

    assert_v0_error(api.patch(f"{V0}/tickets/{ticket_id}/status", {"status": status}), 400,
                    "invalid_field")
    assert api.get_v0(ticket_id)["status"] == "open"


def test_status_of_an_absent_ticket_is_not_found(api):
    reply = api.patch(f"{V0}/tickets/{ABSENT}/status", {"status": "open"})

    assert_v0_error(reply, 404, "not_found")


def test_status_of_anothers_ticket_is_unauthorized_and_unchanged(api, other):
    made = other.create_v0()

    reply = api.patch(f"{V0}/tickets/{made['id']}/status", {"status": "closed"})

    assert_v0_error(reply, 401, "invalid_token")
    assert other.get_v0(made["id"])["status"] == "open"


@pytest.mark.parametrize("method,tail", [("POST", "/comments"), ("PATCH", "/status")])
def test_invalid_id_on_comment_and_status_is_refused(api, method, tail):
    reply = api.request(method, f"{V0}/tickets/not-a-uuid{tail}",
                        json={"content": "x", "status": "open"})

    assert_v0_error(reply, 400, "invalid_parameter", "invalid_field")


def test_document_flow_of_create_comment_status_get(api):
    ticket = api.create_v0("Order processing issue", priority="high",
                           description="Customer order #12345 is stuck in processing",
                           metadata={"order_id": "12345"})
    comment = api.post(f"{V0}/tickets/{ticket['id']}/comments", {
        "content": "Customer has been contacted and we are investigating the issue"})
    status = api.patch(f"{V0}/tickets/{ticket['id']}/status", {"status": "in_progress"})

    assert (comment.status_code, status.status_code) == (201, 200)
    assert api.get_v0(ticket["id"])["status"] == "in_progress"


def test_retry_with_the_same_idempotency_key_makes_one_ticket(api):
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    first = api.post(V0 + "/tickets", {"title": "once"}, headers=headers)
    again = api.post(V0 + "/tickets", {"title": "once"}, headers=headers)
    other_body = api.post(V0 + "/tickets", {"title": "twice"}, headers=headers)

    assert first.status_code == again.status_code == 201
    assert again.json() == first.json()
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert_v0_error(other_body, 422, "idempotency_key_reused")

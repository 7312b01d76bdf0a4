"""Bulk create with a result for each item, and Idempotency-Key on every POST of /v1."""

import threading
import time
import uuid

import pytest
from harness import truth
from harness.client import Api, assert_problem

BULK = "/v1/tickets/bulk"


def key():
    return {"Idempotency-Key": str(uuid.uuid4())}


def test_bulk_answers_each_item_in_order(new_api):
    api = new_api()
    reply = api.post(BULK, {"tickets": [
        {"title": "one"}, {"title": ""}, {"title": "three", "priority": "no"},
        {"title": "four", "metadata": {"n": 1.0}}, {"title": "five", "stranger": 1}]})

    assert reply.status_code == 200
    data = reply.json()["data"]
    assert [d["status"] for d in data] == [201, 422, 422, 201, 422]
    assert [d["ticket"]["title"] for d in data if d["status"] == 201] == ["one", "four"]
    assert all("code" in d["error"] for d in data if d["status"] == 422)
    assert "priority" in str(data[2]["error"]) and "stranger" in str(data[4]["error"])
    assert {t["title"] for t in api.list_v1()["data"]} == {"one", "four"}


def test_bulk_takes_a_thousand_and_no_more(new_api):
    api = new_api()
    thousand = [{"title": f"t{i}"} for i in range(1000)]

    reply = api.post(BULK, {"tickets": thousand})

    assert reply.status_code == 200
    data = reply.json()["data"]
    assert [d["ticket"]["title"] for d in data] == [t["title"] for t in thousand]
    assert len({d["ticket"]["id"] for d in data}) == 1000
    assert len(api.list_all_v1()) == 1000
    assert_problem(api.post(BULK, {"tickets": thousand + [{"title": "one more"}]}), 422,
                   fields=["tickets"])
    assert len(api.list_all_v1()) == 1000


@pytest.mark.parametrize("body", [{}, {"tickets": []}, {"tickets": "x"}, {"tickets": None},
                                  {"tickets": [{"title": "x"}], "stranger": 1}])
def test_bulk_without_a_list_is_refused(api, body):
    assert_problem(api.post(BULK, body), 422)


def test_bulk_items_that_are_no_objects_fail_alone(new_api):
    api = new_api()

    data = api.post(BULK, {"tickets": [5, {"title": "good"}, "x", None, []]}).json()["data"]

    assert data[1]["status"] == 201
    assert all(d["status"] in (400, 422) and d["error"]["code"] for d in data[:1] + data[2:])
    assert len(api.list_v1()["data"]) == 1


# --- Idempotency-Key -----------------------------------------------------------------------------


@pytest.mark.parametrize("path,body", [
    ("/v1/tickets", {"title": "once"}),
    (BULK, {"tickets": [{"title": "once"}, {"title": ""}]}),
    ("/v1/tickets/{id}/comments", {"content": "once"}),
])
def test_a_repeated_key_replays_the_stored_answer(new_api, path, body):
    api, headers = new_api(), key()
    path = path.format(id=api.create_v1("the ticket")["id"])

    first = api.post(path, body, headers=headers)
    count = len(api.list_v1()["data"])
    again = api.post(path, body, headers=headers)

    assert (again.status_code, again.text) == (first.status_code, first.text)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert "Idempotency-Replayed" not in first.headers
    assert len(api.list_v1()["data"]) == count
    for name in ("Location", "ETag", "Content-Type"):
        assert again.headers.get(name) == first.headers.get(name)


def test_a_key_with_another_body_is_422(new_api):
    api, headers = new_api(), key()
    api.post("/v1/tickets", {"title": "one"}, headers=headers)

    assert_problem(api.post("/v1/tickets", {"title": "two"}, headers=headers), 422,
                   "idempotency_key_reused")
    assert len(api.list_v1()["data"]) == 1


def test_a_key_belongs_to_one_token_and_one_path(new_api):
    mine, theirs, headers = new_api(), new_api(), key()
    first = mine.post("/v1/tickets", {"title": "x"}, headers=headers).json()

    foreign = theirs.post("/v1/tickets", {"title": "x"}, headers=headers)
    comment = mine.post(f"/v1/tickets/{first['id']}/comments", {"content": "x"}, headers=headers)

    assert foreign.status_code == 201 and foreign.json()["id"] != first["id"]
    assert "Idempotency-Replayed" not in foreign.headers
    assert comment.status_code in (201, 422)
    assert comment.status_code == 422 or "Idempotency-Replayed" not in comment.headers


def test_a_refused_request_does_not_burn_its_key(new_api):
    api, headers = new_api(), key()
    refused = api.post("/v1/tickets", {"title": ""}, headers=headers)

    again = api.post("/v1/tickets", {"title": ""}, headers=headers)

    assert refused.status_code == again.status_code == 422
    assert refused.json()["code"] == again.json()["code"] == "missing_required_field"


@pytest.mark.parametrize("bad", ["", "x" * 300])
def test_a_malformed_key_is_refused(api, bad):
    reply = api.post("/v1/tickets", {"title": "x"}, headers={"Idempotency-Key": bad})

    assert_problem(reply, 400)


def test_one_key_sent_many_times_at_once_makes_one_ticket(new_api):
    api, headers, replies = new_api(), key(), []
    gate = threading.Barrier(8)

    def send():
        own = Api(api.server, api.token)
        gate.wait(10)
        replies.append(own.post("/v1/tickets", {"title": "once"}, headers=headers))
    threads = [threading.Thread(target=send) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)

    assert len(replies) == 8
    for reply in replies:
        if reply.status_code != 201:
            assert_problem(reply, 409, "idempotency_in_progress")
    assert len({r.json()["id"] for r in replies if r.status_code == 201}) == 1
    assert len(api.list_v1()["data"]) == 1


def test_a_stored_answer_is_kept_for_a_day(new_api):
    api, headers = new_api(), key()
    api.post("/v1/tickets", {"title": "x"}, headers=headers)

    left_ms = truth.value(api.server, "SELECT expires_ms FROM idempotency_keys WHERE idem_key = ?",
                          headers["Idempotency-Key"]) - time.time() * 1000

    assert 86390000 < left_ms <= 86401000


def test_a_stored_answer_survives_a_hard_kill(fresh_server):
    made, headers = fresh_server.new_token(), key()
    first = Api(fresh_server, made["token"]).post("/v1/tickets", {"title": "x"}, headers=headers)
    fresh_server.kill9()
    fresh_server.start()

    again = Api(fresh_server, made["token"]).post("/v1/tickets", {"title": "x"}, headers=headers)

    assert again.status_code == 201 and again.text == first.text
    assert again.headers["Idempotency-Replayed"] == "true"

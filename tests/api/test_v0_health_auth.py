"""The document's ticket API: the health check, authentication, the error form, paths, methods."""

import re
import threading

import pytest
from harness.client import Api, assert_v0_error
from harness.server import V0
from harness.wait import wait_until

HEALTH = {
    "status": "ok",
    "endpoints": [
        "POST /tickets",
        "GET /tickets/:id",
        "POST /tickets/:id/comments",
        "PATCH /tickets/:id/status",
    ],
}


@pytest.mark.parametrize("slash", ["", "/"])
def test_health_check_names_the_four_endpoints(api, slash):
    reply = api.get(V0 + slash)

    assert reply.status_code == 200
    assert reply.json() == HEALTH
    assert list(reply.json()) == list(HEALTH)
    assert reply.headers["Content-Type"].split(";")[0] == "application/json"


@pytest.mark.parametrize("method,path", [
    ("GET", ""), ("GET", "/"), ("POST", "/tickets"), ("GET", "/tickets/{id}"),
    ("POST", "/tickets/{id}/comments"), ("PATCH", "/tickets/{id}/status"),
])
def test_every_call_without_authorization_is_missing_token(api, anonymous, method, path):
    path = V0 + path.format(id=api.create_v0()["id"])

    reply = anonymous.request(method, path)

    body = assert_v0_error(reply, 401, "missing_token")
    assert body["message"] == "No Authorization header provided"
    assert reply.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("value", [
    "Bearer stk_" + "A" * 43, "Bearer x", "Bearer stk_", "Bearer " + "A" * 3000,
    "Bearer stk_\u00e4\u00f6", "Bearer {good}x", "Bearer {good} x", "Bearer {short}",
])
def test_wrong_secrets_are_invalid_token(api, anonymous, value):
    value = value.format(good=api.token, short=api.token[:-1])

    reply = anonymous.get(V0, headers={"Authorization": value.encode("utf-8")})

    assert_v0_error(reply, 401, "invalid_token")


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", "{good}"])
def test_other_authorization_forms_are_refused(api, anonymous, value):
    reply = anonymous.get(V0, headers={"Authorization": value.format(good=api.token)})

    assert_v0_error(reply, 401, "missing_token", "invalid_token")


def test_scheme_word_has_no_case(api, anonymous):
    reply = anonymous.get(V0, headers={"Authorization": "bearer " + api.token})

    assert reply.status_code == 200


def test_secret_in_the_query_is_not_accepted(api, anonymous):
    reply = anonymous.get(f"{V0}?token={api.token}&access_token={api.token}")

    assert reply.status_code == 401


def test_disabled_token_is_invalid_token(server, new_api):
    api = new_api()
    server.cli("token", "disable", api.token_id)
    server.wait_token(api.token, {401})

    assert_v0_error(api.get(V0), 401, "invalid_token")


def test_expired_token_is_invalid_token(server):
    made = server.new_token(expires_in="2s")
    api = Api(server, made["token"])

    wait_until(lambda: api.get(V0).status_code == 401, 5, "the token expires")

    assert_v0_error(api.get(V0), 401, "invalid_token")


@pytest.mark.parametrize("method,path,allowed", [
    ("POST", "", {"GET"}), ("DELETE", "/", {"GET"}),
    ("GET", "/tickets", {"POST"}), ("PUT", "/tickets", {"POST"}), ("PATCH", "/tickets", {"POST"}),
    ("POST", "/tickets/{id}", {"GET"}), ("DELETE", "/tickets/{id}", {"GET"}),
    ("GET", "/tickets/{id}/comments", {"POST"}), ("PUT", "/tickets/{id}/comments", {"POST"}),
    ("POST", "/tickets/{id}/status", {"PATCH"}), ("GET", "/tickets/{id}/status", {"PATCH"}),
])
def test_wrong_method_is_405_with_allow(api, method, path, allowed):
    path = V0 + path.format(id=api.create_v0()["id"])

    reply = api.request(method, path)

    assert_v0_error(reply, 405, "method_not_allowed")
    named = {m.strip() for m in reply.headers["Allow"].split(",")}
    assert named - {"HEAD", "OPTIONS"} == allowed


@pytest.mark.parametrize("path", ["/nothing", "/tickets/x/y/z", "/ticket", "//tickets"])
def test_unknown_path_is_not_found_in_the_documents_form(api, path):
    assert_v0_error(api.get(V0 + path), 404, "not_found")


def test_path_of_another_function_is_not_found(api):
    assert api.get("/functions/v1/other").status_code == 404
    assert api.get(V0 + "-more").status_code == 404


def test_every_answer_carries_a_request_id_and_is_not_stored(api, anonymous):
    ids = set()
    for reply in (api.get(V0), api.get(V0 + "/nothing"), anonymous.get(V0), api.post(V0)):
        ids.add(reply.headers["X-Request-Id"])
        assert "no-store" in reply.headers["Cache-Control"]
        assert reply.headers["X-Content-Type-Options"] == "nosniff"

    assert len(ids) == 4


def test_a_well_formed_request_id_of_the_caller_is_kept(api):
    kept = api.get(V0, headers={"X-Request-Id": "order-4711.retry-2"})
    replaced = api.get(V0, headers={"X-Request-Id": "a b\"<script>"})

    assert kept.headers["X-Request-Id"] == "order-4711.retry-2"
    assert re.fullmatch(r"[A-Za-z0-9._-]{8,}", replaced.headers["X-Request-Id"])


def test_one_connection_carries_many_requests_and_many_connections_work_at_once(api):
    wrong = []

    def work():
        own = Api(api.server, api.token)
        for _ in range(20):
            if own.get(V0).json() != HEALTH:
                wrong.append(1)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)

    assert not wrong and not any(t.is_alive() for t in threads)

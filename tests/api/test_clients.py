"""The example clients in clients/, each run as its users run it: as a program.

Two kinds of tests. Against the real server (fixture `server`): every call, the tour, the errors.
Against a scripted server in this process, which answers what the test tells it and notes when each
request arrived: what is retried, after how long, with which Idempotency-Key. Waits are judged by
the arrivals; nothing here sleeps.
"""

import email.utils
import json
import os
import pathlib
import re
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

CLIENTS = pathlib.Path(__file__).resolve().parents[2] / "clients"
PROGRAMS = {
    "bash": ["bash", str(CLIENTS / "integration_examples.sh")],
    "node": ["node", str(CLIENTS / "integration_client.js")],
    "python": [sys.executable, str(CLIENTS / "integration_client.py")],
}
MOUNT = "/functions/v1/integration-tickets"
TICKET_ID = "550e8400-e29b-41d4-a716-446655440000"
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OVER = (400, {}, {"error": "script_is_over"})
CREATED = (201, {}, {"ticket": {"id": TICKET_ID, "title": "T", "status": "open"}})
DROP = None  # a scripted answer: close the connection without a word

pytestmark = pytest.mark.parametrize("language", sorted(PROGRAMS))


def run(language, url, token, *words, **env):
    """Run one client to its end, without the machine's proxies and the user's settings."""
    clean = {name: value for name, value in os.environ.items()
             if not name.startswith("INTEGRATION_") and name not in ("TOKEN", "BASE_URL")
             and not name.lower().endswith("_proxy")}
    clean.update({"INTEGRATION_URL": url, "INTEGRATION_TOKEN": token, "NO_PROXY": "*",
                  "PYTHONDONTWRITEBYTECODE": "1"})
    clean.update(env)
    return subprocess.run([*PROGRAMS[language], *words], env=clean, capture_output=True, text=True,
                          encoding="utf-8", timeout=60, check=False)


def run_json(*args, **env):
    """The parsed answer of a run that must succeed: the ticket in it, where there is one. (bash
    prints the reply as it came, the others print the part that matters.)"""
    done = run(*args, **env)
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    return value.get("ticket", value)


def assert_failed(done, *words, code=1):
    assert done.returncode == code, done.stdout + done.stderr
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr and "    at " not in done.stderr


# ---- against the real server


@pytest.fixture
def api(server):
    return server.url + MOUNT


@pytest.fixture
def token(server):
    return server.new_token()["token"]


def test_tour_uses_every_call(language, api, token):
    done = run(language, api, token)

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        "health", "created", "fetched", "comment", "updated", "fetched", "done"]
    assert lines[0].split() == ["health:", "ok"]
    assert UUID.search(lines[1]) and "status open" in lines[1] and "priority high" in lines[1]
    assert "Order processing issue" in lines[2]
    assert UUID.search(lines[3])
    assert "in_progress" in lines[4] and "in_progress" in lines[5]
    assert done.stderr == ""


def test_tour_accepts_the_url_with_a_slash_at_its_end(language, api, token):
    assert run(language, api + "/", token).returncode == 0


def test_health_lists_the_endpoints(language, api, token):
    answer = run_json(language, api, token, "health")

    assert answer["status"] == "ok"
    assert "POST /tickets" in answer["endpoints"]


def test_create_and_get_keep_every_character(language, api, token):
    title = 'quote " back \\ ü € 😀 $HOME `id` & %s'
    description = "it's two lines:\n\tand a tab, \x01 \x1f \x7f"
    metadata = {"customer_id": "CUST-123", "deep": {"list": [1, 2.5, None, True]}}

    made = run_json(language, api, token, "create", title, description, "urgent", "Technical Support",
                    json.dumps(metadata))
    seen = run_json(language, api, token, "get", made["id"])

    for ticket in (made, seen):
        assert ticket["title"] == title
        assert ticket["description"] == description
        assert ticket["priority"] == "urgent"
        assert ticket["category"] == "Technical Support"
        assert ticket["metadata"] == metadata
    assert seen["id"] == made["id"]


def test_create_with_only_a_title_leaves_the_rest_to_the_server(language, api, token):
    ticket = run_json(language, api, token, "create", "Only a title")

    assert (ticket["priority"], ticket["status"]) == ("medium", "open")
    assert ticket["description"] is None and ticket["category"] is None
    assert ticket["metadata"] == {}


def test_comment_and_status(language, api, token):
    ticket = run_json(language, api, token, "create", "Talk")

    comment = run_json(language, api, token, "comment", ticket["id"], "for us", "internal")
    status = run_json(language, api, token, "status", ticket["id"], "resolved")

    assert UUID.fullmatch(comment["comment_id"])
    assert (status["id"], status["status"]) == (ticket["id"], "resolved")
    assert run_json(language, api, token, "get", ticket["id"])["status"] == "resolved"


def test_own_idempotency_key_gives_the_same_ticket(language, api, token):
    key = {"INTEGRATION_IDEMPOTENCY_KEY": f"order-12345-{language}"}

    first = run_json(language, api, token, "create", "Once", **key)
    again = run_json(language, api, token, "create", "Once", **key)
    other = run_json(language, api, token, "create", "Once")

    assert first["id"] == again["id"] != other["id"]


def test_wrong_token_is_said_and_not_retried(language, api):
    assert_failed(run(language, api, "stk_" + "x" * 43), "401", "invalid_token")


def test_unknown_ticket_is_said(language, api, token):
    assert_failed(run(language, api, token, "get", TICKET_ID), "404", "not_found")


def test_missing_title_is_said(language, api, token):
    assert_failed(run(language, api, token, "create", ""), "400", "missing_required_field")


def test_wrong_priority_is_said(language, api, token):
    done = run(language, api, token, "create", "T", "", "very high")

    assert_failed(done, "400", "invalid_field", "priority")


def test_ticket_of_another_token_is_refused(language, server, api, token):
    ticket = run_json(language, api, token, "create", "Mine")
    stranger = server.new_token()["token"]

    assert_failed(run(language, api, stranger, "get", ticket["id"]), "404", "not_found")
    for words in (("comment", ticket["id"], "hi"), ("status", ticket["id"], "closed")):
        assert_failed(run(language, api, stranger, *words), "401", "invalid_token")
    assert run_json(language, api, token, "get", ticket["id"])["status"] == "open"


# ---- against a scripted server


class Script:
    """A server that gives the listed answers in turn, and notes each request and its arrival."""

    def __init__(self):
        self.answers = []
        self.requests = []
        script = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                script.requests.append({"at": time.monotonic(), "method": self.command,
                                        "path": self.path, "headers": self.headers, "body": body})
                step = script.answers.pop(0) if script.answers else OVER
                if step is not DROP:
                    self.reply(*step)
                self.close_connection = True

            def reply(self, status, headers, body):
                data = body if isinstance(body, bytes) else json.dumps(body).encode()
                self.send_response(status)
                for name, value in {"Content-Length": str(len(data)), **headers}.items():
                    self.send_header(name, value() if callable(value) else value)
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = answer

            def log_message(self, *_args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}{MOUNT}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def waits(self):
        arrivals = [request["at"] for request in self.requests]
        return [later - earlier for earlier, later in zip(arrivals, arrivals[1:])]

    def keys(self):
        return [request["headers"]["Idempotency-Key"] for request in self.requests]

    def stop(self):
        self.http.shutdown()
        self.http.server_close()
        self.thread.join(timeout=10)


@pytest.fixture
def script():
    running = Script()
    yield running
    running.stop()


def refusal(status, code, **headers):
    body = {"error": code, "message": f"about {code}", "details": "the details"}
    return (status, headers, body)


def assert_same_request(requests):
    """Every attempt of one call is the same request, key included, so that the server can tell."""
    first = requests[0]
    assert first["headers"]["Idempotency-Key"]
    for request in requests[1:]:
        assert (request["method"], request["path"], request["body"]) == (
            first["method"], first["path"], first["body"])
        assert request["headers"]["Idempotency-Key"] == first["headers"]["Idempotency-Key"]


def test_request_is_what_the_document_asks_for(language, script):
    script.answers = [CREATED]

    run_json(language, script.url, "stk_abc", "create", "T", "D", "high", "C", '{"a":1}')

    [request] = script.requests
    assert (request["method"], request["path"]) == ("POST", MOUNT + "/tickets")
    assert request["headers"]["Authorization"] == "Bearer stk_abc"
    assert request["headers"]["Content-Type"] == "application/json"
    assert request["headers"]["User-Agent"].startswith(f"tessera-client-{language}/")
    assert json.loads(request["body"]) == {
        "title": "T", "description": "D", "priority": "high", "category": "C", "metadata": {"a": 1}}


def test_429_waits_as_long_as_asked(language, script):
    script.answers = [refusal(429, "rate_limit_exceeded", **{"Retry-After": "1"}), CREATED]

    ticket = run_json(language, script.url, "stk_abc", "create", "T")

    assert ticket["id"] == TICKET_ID
    assert_same_request(script.requests)
    [wait] = script.waits()
    assert 1.0 <= wait < 5.0


def test_429_understands_a_date(language, script):
    def in_3_s():  # a date has whole seconds: between 2 and 3 s from now; bash counts whole ones
        return email.utils.formatdate(time.time() + 3, usegmt=True)

    script.answers = [refusal(429, "rate_limit_exceeded", **{"Retry-After": in_3_s}), CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")

    [wait] = script.waits()
    assert 1.0 <= wait < 8.0


def test_503_backs_off_and_repeats_with_the_same_key(language, script):
    script.answers = [refusal(503, "unavailable"), refusal(503, "unavailable"), CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")

    assert len(script.requests) == 3
    assert_same_request(script.requests)
    first, second = script.waits()
    assert 0.25 <= first < 5.0 and 0.5 <= second < 5.0


def test_503_honours_retry_after(language, script):
    script.answers = [refusal(503, "unavailable", **{"Retry-After": "1"}), CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")

    assert script.waits()[0] >= 1.0


def test_lost_answer_is_asked_for_again_with_the_same_key(language, script):
    script.answers = [DROP, CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")

    assert len(script.requests) == 2
    assert_same_request(script.requests)


def test_create_still_running_is_waited_for(language, script):
    script.answers = [refusal(409, "idempotency_in_progress"), CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")

    assert_same_request(script.requests)


def test_comment_repeats_with_the_same_key(language, script):
    script.answers = [refusal(500, "internal_error"), (201, {}, {"comment_id": TICKET_ID})]

    run_json(language, script.url, "stk_abc", "comment", TICKET_ID, "hello")

    assert_same_request(script.requests)
    assert json.loads(script.requests[1]["body"]) == {"content": "hello", "is_internal": False}


def test_each_call_has_its_own_key(language, script):
    script.answers = [CREATED, CREATED]

    run_json(language, script.url, "stk_abc", "create", "T")
    run_json(language, script.url, "stk_abc", "create", "T")

    first, second = script.keys()
    assert first and second and first != second


@pytest.mark.parametrize("status,words", [
    (408, ["health"]), (502, ["get", TICKET_ID]), (504, ["status", TICKET_ID, "closed"])])
def test_reads_and_status_repeat_too(language, script, status, words):
    ticket = {"ticket": {"id": TICKET_ID, "status": "closed"}}
    script.answers = [refusal(status, "any_code"), (200, {}, ticket)]

    run_json(language, script.url, "stk_abc", *words)

    assert len(script.requests) == 2
    assert script.requests[0]["headers"]["Idempotency-Key"] is None


def test_attempts_are_bounded(language, script):
    script.answers = [refusal(500, "internal_error")] * 9

    done = run(language, script.url, "stk_abc", "create", "T", INTEGRATION_MAX_ATTEMPTS="3")

    assert_failed(done, "500 internal_error", "about internal_error", "the details", "3 attempts")
    assert len(script.requests) == 3


def test_too_long_a_wait_fails_at_once_and_says_how_long(language, script):
    script.answers = [refusal(429, "rate_limit_exceeded", **{"Retry-After": "3000"}), CREATED]

    done = run(language, script.url, "stk_abc", "create", "T")

    assert_failed(done, "429", "rate_limit_exceeded", "retry after 3000 s")
    assert len(script.requests) == 1


@pytest.mark.parametrize("status,code", [
    (400, "invalid_field"), (401, "invalid_token"), (403, "insufficient_scope"), (404, "not_found"),
    (413, "payload_too_large"), (422, "idempotency_key_reused")])
def test_refusals_are_not_repeated(language, script, status, code):
    script.answers = [refusal(status, code), CREATED]

    done = run(language, script.url, "stk_abc", "create", "T")

    assert_failed(done, str(status), code, f"about {code}", "the details")
    assert len(script.requests) == 1


def test_redirect_is_not_followed(language, script):
    script.answers = [(302, {"Location": script.url + "/elsewhere"}, {}), CREATED]

    assert_failed(run(language, script.url, "stk_abc", "create", "T"), "302")
    assert len(script.requests) == 1


def test_page_of_a_proxy_is_a_clear_error(language, script):
    script.answers = [(200, {}, b"<html>welcome</html>")]

    assert_failed(run(language, script.url, "stk_abc", "health"), "unexpected_answer", "URL")


def test_page_of_a_failing_proxy_is_retried(language, script):
    script.answers = [(502, {}, b"<html>bad gateway</html>"), (200, {}, {"status": "ok"})]

    assert run_json(language, script.url, "stk_abc", "health") == {"status": "ok"}


def test_silent_server_times_out(language):
    with socket.create_server(("127.0.0.1", 0)) as listener:  # connects, never answers
        url = f"http://127.0.0.1:{listener.getsockname()[1]}{MOUNT}"

        done = run(language, url, "stk_abc", "health",
                   INTEGRATION_TIMEOUT="1", INTEGRATION_MAX_ATTEMPTS="1")

    assert_failed(done, "connection_failed")


def test_nobody_listening_is_a_clear_error(language):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    done = run(language, f"http://127.0.0.1:{port}{MOUNT}", "stk_abc", "health",
               INTEGRATION_MAX_ATTEMPTS="2")

    assert_failed(done, "connection_failed", "2 attempts")


@pytest.mark.parametrize("words", [
    ("nonsense",), ("create",), ("status", TICKET_ID), ("health", "x")], ids=" ".join)
def test_wrong_usage_ends_with_2_and_asks_nothing(language, script, words):
    assert_failed(run(language, script.url, "stk_abc", *words), "usage:", code=2)
    assert script.requests == []


def test_no_token_ends_with_2_and_asks_nothing(language, script):
    assert_failed(run(language, script.url, ""), "--help", code=2)
    assert script.requests == []


def test_short_names_of_the_document_are_for_bash_alone(language, script):
    script.answers = [(200, {}, {"status": "ok"})]

    done = run(language, script.url, "", "health", TOKEN="stk_abc", BASE_URL=script.url,
               **({"INTEGRATION_URL": ""} if language == "bash" else {}))

    if language == "bash":
        assert done.returncode == 0, done.stderr
        assert script.requests[0]["headers"]["Authorization"] == "Bearer stk_abc"
    else:
        assert_failed(done, "--help", code=2)
        assert script.requests == []

"""The tests' own tools refuse what they should refuse: a check that cannot fail proves nothing."""

import contextlib

import pytest
import requests
from harness.contract import Contract, is_date_time, strict_json
from harness.wait import wait_until

TICKET = {"type": "object", "additionalProperties": False, "required": ["id", "at"],
          "properties": {"id": {"type": "string", "format": "uuid"},
                         "at": {"type": "string", "format": "date-time"}}}
DOCUMENT = {
    "openapi": "3.1.0",
    "components": {"schemas": {"Ticket": TICKET}},
    "paths": {"/t/{id}": {"get": {"responses": {
        "200": {"content": {"application/json": {
            "schema": {"$ref": "#/components/schemas/Ticket"}}}},
        "204": {"description": "no body"}}}}},
}
GOOD = '{"id":"01890000-0000-7000-8000-000000000000","at":"2024-01-15T10:30:00.123Z"}'
JSON = "application/json"


def test_a_documented_reply_passes():
    contract = Contract(DOCUMENT)

    contract.check("GET", "/t/1", 200, "application/json; charset=utf-8", GOOD)
    contract.check("GET", "/t/1", 204, None, "")
    contract.check("POST", "/t/1", 405, JSON, "{}")
    contract.check("GET", "/nothing", 404, JSON, "{}")
    assert ("GET", "/t/{id}", 200) in contract.seen


@pytest.mark.parametrize("method,path,status,kind,body", [
    ("GET", "/t/1", 418, JSON, GOOD), ("GET", "/t/1", 200, "text/plain", GOOD),
    ("GET", "/t/1", 200, None, GOOD), ("GET", "/t/1", 204, None, "body"),
    ("GET", "/t/1", 200, JSON, ""), ("GET", "/t/1", 200, JSON, GOOD + "x"),
    ("GET", "/t/1", 200, JSON, '{"id":"x","at":"2024-01-15T10:30:00Z"}'),
    ("GET", "/t/1", 200, JSON, GOOD.replace(".123Z", "+00:00")),
    ("GET", "/t/1", 200, JSON, GOOD.replace('"at"', '"more":1,"at"')),
    ("GET", "/t/1", 200, JSON, '{"id":1,"id":2,"at":3}'),
    ("GET", "/nothing", 200, JSON, "{}"), ("DELETE", "/t/1", 200, JSON, "{}"),
])
def test_an_undocumented_reply_fails(method, path, status, kind, body):
    with pytest.raises((AssertionError, ValueError)):
        Contract(DOCUMENT).check(method, path, status, kind, body)


def test_strict_json_refuses_what_is_not_json():
    for text in ("NaN", "[Infinity]", '{"a":1,"a":1}', "", "{} {}"):
        with pytest.raises((AssertionError, ValueError)):
            strict_json(text)
    for text in ("2024-01-15", "2024-13-15T10:30:00Z", "2024-01-15T10:30:00.1Z"):
        with pytest.raises(ValueError):
            is_date_time(text)


def test_waiting_takes_any_reply_for_an_answer():
    refusal = requests.Response()
    refusal.status_code = 503

    assert wait_until(lambda: refusal, 0.05, "a reply") is refusal


def test_waiting_in_vain_fails():
    with pytest.raises(AssertionError, match="a miracle"):
        wait_until(lambda: False, 0.05, "a miracle")


def test_a_sanitizer_report_in_the_log_fails_the_server(make_server):
    server = make_server(start=False)
    with open(server.log_path, "a", encoding="ascii") as f:
        f.write("==1==ERROR: AddressSanitizer: heap-use-after-free\n")

    with pytest.raises(AssertionError, match="sanitizer report"):
        server.close()


@pytest.mark.only_backend("postgres")
def test_postgres_is_fresh_durable_and_unprivileged(backend, cluster):
    database = cluster.new_database()
    with contextlib.closing(database.connect()) as conn, conn.cursor() as cur:
        cur.execute("SHOW fsync")
        assert cur.fetchone() == ("on",)
        cur.execute("SELECT rolsuper, rolbypassrls FROM pg_roles WHERE rolname = current_user")
        assert cur.fetchone() == (False, False)
        cur.execute("SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace")
        assert cur.fetchone() == (0,)

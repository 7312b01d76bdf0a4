"""/v1/exports and the export of reports: files made in the background, their content, who gets them."""

import contextlib
import csv
import hashlib
import io
import json
import os
import sqlite3
import zipfile

import openpyxl
import pytest
from harness.client import Api, assert_problem
from harness.server import V0
from harness.tenants import Tenant
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
MEDIA = {"csv": "text/csv", "ndjson": "application/x-ndjson", "json": "application/json",
         "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}
REPORT = {"source": "tickets", "group_by": ["category"], "measures": [
    {"name": "n", "op": "count"}, {"name": "mean", "op": "avg", "field": "resolution_time"}]}
FORMULA = '=HYPERLINK("http://example.com","x")'


@pytest.fixture
def tenant(server):
    """A team of the test's own: at most five exports run in one."""
    return Tenant(server, "exports")


@pytest.fixture
def api(tenant):
    return tenant.api


def start(api, path="/v1/exports", **body):
    reply = api.post(path, body)
    assert reply.status_code == 202, reply.text
    job = reply.json()["job"]
    assert reply.headers["Location"].endswith(f"/v1/exports/{job['id']}")
    assert (job["state"], job["progress"], job["size"], job["error"]) == ("queued", 0, None, None)
    return job


def finished(api, job):
    """The export when it is done or failed."""
    def state():
        found = api.get(f"/v1/exports/{job['id']}").json()
        return found if found["state"] in ("done", "failed") else None
    return wait_until(state, 20, "the export is over")


def file_of(api, path="/v1/exports", **body):
    """(the finished export, the reply with its file)."""
    job = finished(api, start(api, path, **body))
    assert job["state"] == "done", job
    reply = api.get(f"/v1/exports/{job['id']}/file")
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].split(";")[0] == MEDIA[body["format"]]
    assert len(reply.content) == job["size"]
    return job, reply


def sheet(reply):
    """The rows of the first sheet."""
    book = openpyxl.load_workbook(io.BytesIO(reply.content))
    return [list(row) for row in book.worksheets[0].iter_rows(values_only=True)]


def table(text):
    return list(csv.reader(io.StringIO(text)))


def save_report(api, definition=None, name="Täglich / Daily"):
    reply = api.post("/v1/reports", {"name": name, "definition": definition or REPORT})
    assert reply.status_code == 201, reply.text
    return f"/v1/reports/{reply.json()['id']}/export"


# --- rows -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("format", ["csv", "ndjson", "xlsx"])
def test_tickets_are_all_in_the_file(api, format):
    made = [api.create_v1(f"Ticket {i}", category=FORMULA, tags=["a"]) for i in range(3)]

    job, reply = file_of(api, source="tickets", format=format)

    assert (job["progress"], job["rows"], job["kind"], job["report_id"]) == (100, 3, "tickets", None)
    assert f'filename="tickets.{format}"' in reply.headers["Content-Disposition"]
    if format == "ndjson":
        assert [json.loads(line) for line in reply.text.splitlines()] == made
        return
    rows = sheet(reply) if format == "xlsx" else table(reply.text)
    assert rows[0] == list(made[0])
    found = [dict(zip(rows[0], row)) for row in rows[1:]]
    assert [row["id"] for row in found] == [t["id"] for t in made]
    assert {row["category"] for row in found} == {FORMULA if format == "xlsx" else "'" + FORMULA}
    assert {row["tags"] for row in found} == {'["a"]'}


def test_cells_of_a_sheet_have_their_kinds(api):
    made = api.create_v1("\ttab", description="line\nline", category="007")

    _, reply = file_of(api, source="tickets", format="xlsx")

    book = openpyxl.load_workbook(io.BytesIO(reply.content))
    cells = {head.value: cell for head, cell in zip(*book.worksheets[0].iter_rows())}
    assert cells["title"].value == made["title"] and cells["category"].value == "007"
    assert cells["description"].value == "line\nline"
    assert cells["version"].value == 1
    assert cells["created_at"].is_date
    assert cells["created_at"].value.isoformat()[:19] == made["created_at"][:19]
    assert cells["assignee_id"].value is None


def test_what_a_sheet_cannot_hold_is_left_out_and_escapes_are_escaped(api):
    made = api.create_v1("bell\x07 \ufffe end", description="x" * 40000, category="_x0041_")

    _, reply = file_of(api, source="tickets", format="xlsx")

    found = dict(zip(*sheet(reply)))
    assert made["title"] == "bell\x07 \ufffe end" and found["title"] == "bell  end"
    assert found["description"] == "x" * 32767
    with zipfile.ZipFile(io.BytesIO(reply.content)) as book:
        assert "<t>_x005F_x0041_</t>" in book.read("xl/worksheets/sheet1.xml").decode()


def test_more_rows_than_a_page_come_once_each(api):
    ids = set()
    for _ in range(12):
        reply = api.post("/v1/tickets/bulk", {"tickets": [{"title": "x"}] * 100})
        assert reply.status_code < 300, reply.text
    ids = {t["id"] for t in api.list_all_v1()}

    _, reply = file_of(api, source="tickets", format="ndjson")

    found = [json.loads(line)["id"] for line in reply.text.splitlines()]
    assert len(found) == 1200 and set(found) == ids and found == sorted(found)


def test_contacts_are_filtered(api):
    for name, company in (("Zoë", "Acme"), ("Yan", "Beta"), ("Xu", "Acme")):
        api.post("/v1/contacts", {"name": name, "company": company, "emails": [f"{name[0]}@e.org"]})

    _, reply = file_of(api, source="contacts", format="csv",
                       filters=[{"field": "company", "op": "eq", "value": "Acme"}])
    _, empty = file_of(api, source="contacts", format="csv", **{"to": "-1h"})

    rows = table(reply.text)
    assert [row[rows[0].index("name")] for row in rows[1:]] == ["Zoë", "Xu"]
    assert "terms" not in rows[0]
    assert len(table(empty.text)) == 1


def test_the_request_log_is_filtered(tenant, api):
    key = tenant.new_key(["tickets:read"])
    caller = Api(tenant.server, key["token"], key["id"])
    for _ in range(4):
        caller.get("/v1/tickets")
    caller.post("/v1/tickets", {"title": "x"})
    only = [{"field": "key_id", "op": "eq", "value": key["id"]},
            {"field": "status", "op": "eq", "value": 403}]
    wait_until(lambda: len(api.get("/v1/usage/requests", params={
        "key_id": key["id"], "status": 403, "route": "/v1/tickets"}).json()["data"]) == 1, 5,
        "the refused request is in the log")

    only.append({"field": "route", "op": "eq", "value": "/v1/tickets"})
    job, reply = file_of(api, source="usage", format="xlsx", filters=only, **{"from": "-1h"})

    head, row = sheet(reply)
    found = dict(zip(head, row))
    assert (found["key_id"], found["method"], found["status"]) == (key["id"], "POST", 403)
    assert isinstance(found["response_time_us"], int) and job["rows"] == 1


@pytest.mark.parametrize("body,fields", [
    ({}, ["source", "format"]),
    ({"source": "comments", "format": "csv"}, ["source"]),
    ({"source": "usage", "format": "json"}, ["format"]),
    ({"source": "tickets", "format": "csv", "filters": [{"field": "x", "op": "eq", "value": 1}]},
     ["filters[0].field"]),
    ({"source": "usage", "format": "csv",
      "filters": [{"field": "ip", "op": "eq", "value": "::1"},
                  {"field": "route", "op": "contains", "value": "x"}]}, ["filters[1].op"]),
    ({"source": "usage", "format": "csv",
      "filters": [{"field": "status", "op": "eq", "value": "x"}]}, ["filters[0].value"]),
    ({"source": "usage", "format": "csv",
      "filters": [{"field": "status", "op": "eq", "value": 2 ** 40}]}, ["filters[0].value"]),
    ({"source": "tickets", "format": "csv", "from": "x"}, ["from"]),
    ({"source": "tickets", "format": "csv", "from": "now", "to": "-1d"}, ["to"]),
    ({"source": "tickets", "format": "csv", "sql": "x"}, ["sql"]),
])
def test_what_is_wrong_is_named(api, body, fields):
    assert_problem(api.post("/v1/exports", body), 422, fields=fields)


def test_a_filter_that_only_the_log_knows_to_be_wrong_fails_the_export(api):
    job = finished(api, start(api, source="usage", format="csv", filters=[
        {"field": "ip", "op": "eq", "value": "no address"}]))

    assert (job["state"], job["error"], job["size"]) == ("failed", "ip must be an address", None)
    problem = assert_problem(api.get(f"/v1/exports/{job['id']}/file"), 409, "conflict")
    assert "failed" in problem["detail"]


# --- reports --------------------------------------------------------------------------------------


def test_a_report_is_the_same_in_every_format(api):
    for category in ("b", "a", "a", FORMULA):
        api.create_v1("x", category=category)
    export = save_report(api)
    run = api.post(export.replace("/export", "/execute"), {}).json()

    job, as_json = file_of(api, export, format="json")
    _, as_csv = file_of(api, export, format="csv")
    _, as_xlsx = file_of(api, export, format="xlsx")

    assert job["kind"] == "report" and export.split("/")[3] == job["report_id"]
    assert {**as_json.json(), "took_ms": 0} == {**run, "took_ms": 0}
    assert run["rows"] == [[FORMULA, 1, None], ["a", 2, None], ["b", 1, None]]
    assert sheet(as_xlsx) == [["category", "n", "mean"]] + run["rows"]
    assert table(as_csv.text) == [["category", "n", "mean"], ["'" + FORMULA, "1", ""],
                                  ["a", "2", ""], ["b", "1", ""]]
    assert 'filename="T_glich _ Daily.json"' in as_json.headers["Content-Disposition"]


def test_buckets_are_wall_times_in_a_sheet(api):
    api.create_v1("x")
    export = save_report(api, {**REPORT, "group_by": [], "bucket": {
        "field": "created_at", "unit": "day", "time_zone": "Asia/Kathmandu"}})

    _, as_xlsx = file_of(api, export, format="xlsx")
    _, as_json = file_of(api, export, format="json")

    day = sheet(as_xlsx)[1][0]
    assert (day.hour, day.minute) == (0, 0)
    assert as_json.json()["rows"][0][0] == day.strftime("%Y-%m-%dT00:00:00+05:45")


def test_a_range_of_its_own(api):
    api.create_v1("x")
    export = save_report(api, {"source": "tickets", "measures": [{"name": "n", "op": "count"}]})

    assert file_of(api, export, format="json", to="-1h")[1].json()["rows"] == [[0]]
    assert_problem(api.post(export, {"format": "ndjson"}), 422, fields=["format"])
    assert_problem(api.post(export, {"format": "csv", "to": "never"}), 422, fields=["to"])


# --- who and how many -----------------------------------------------------------------------------


def test_keys_get_their_own_tickets_and_their_own_exports(tenant, api):
    scopes = ["tickets:read", "tickets:write", "reports:export"]
    mine, theirs = tenant.api_with(scopes), tenant.api_with(scopes)
    ticket = mine.create_v1("mine")
    theirs.create_v1("theirs")

    job, reply = file_of(mine, source="tickets", format="ndjson")

    assert [json.loads(line)["id"] for line in reply.text.splitlines()] == [ticket["id"]]
    path = f"/v1/exports/{job['id']}"
    for method, end in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
        assert_problem(theirs.request(method, path + end), 404, "not_found")
    assert theirs.get("/v1/exports").json()["data"] == []
    assert [e["id"] for e in mine.get("/v1/exports").json()["data"]] == [job["id"]]
    assert api.get(path).json() == mine.get(path).json()      # admin:full sees the team's


def test_the_scope_of_the_source_is_needed_too(tenant, api):
    bare = tenant.api_with(["reports:export"])
    for source, scope in (("tickets", "tickets:read"), ("contacts", "contacts:read"),
                          ("usage", "admin:full")):
        problem = assert_problem(bare.post("/v1/exports", {"source": source, "format": "csv"}), 403,
                                 "insufficient_scope")
        assert scope in problem["detail"]
    assert_problem(bare.post(save_report(api), {"format": "csv"}), 403, "insufficient_scope")


def test_without_the_scope_403_and_without_a_token_401(tenant, anonymous):
    lacking = tenant.api_with(["reports:read", "reports:execute", "tickets:read"])
    for method, path, body in (("POST", "/v1/exports", {"source": "tickets", "format": "csv"}),
                               ("GET", "/v1/exports", None), ("GET", f"/v1/exports/{ABSENT}", None),
                               ("GET", f"/v1/exports/{ABSENT}/file", None),
                               ("DELETE", f"/v1/exports/{ABSENT}", None)):
        kwargs = {"json": body} if body else {}
        problem = assert_problem(lacking.request(method, path, **kwargs), 403)
        assert "reports:export" in problem["detail"]
        assert_problem(anonymous.request(method, path, **kwargs), 401, "missing_token")


def test_an_absent_one_is_404_and_a_malformed_id_400(api):
    for method, end in (("GET", ""), ("GET", "/file"), ("DELETE", "")):
        assert_problem(api.request(method, f"/v1/exports/{ABSENT}{end}"), 404, "not_found")
        assert_problem(api.request(method, f"/v1/exports/nope{end}"), 400, "invalid_parameter",
                       fields=["export_id"])


def test_a_deleted_export_is_gone_with_its_file(server, api):
    job, _ = file_of(api, source="tickets", format="csv")
    folder = folder_of(server)
    assert job["id"] in os.listdir(folder)

    assert api.delete(f"/v1/exports/{job['id']}").status_code == 204

    assert job["id"] not in os.listdir(folder)
    assert_problem(api.get(f"/v1/exports/{job['id']}/file"), 404)
    actions = [r["action"] for r in api.get("/v1/audit", params={"target_id": job["id"]}).json()["data"]]
    assert actions == ["export.delete", "export.create"]


def folder_of(server):
    """Where the finished files are."""
    if not server.database:
        return server.db_path + ".exports"
    name = hashlib.sha256(server.database_url.encode()).hexdigest()[:16]
    return os.path.join(server.env["TESSERA_TMP_DIR"], f"tessera-exports-{name}")


def test_the_list_is_newest_first_and_paged(api):
    made = [finished(api, start(api, source="contacts", format="csv"))["id"] for _ in range(3)]

    first = api.get("/v1/exports", params={"limit": 2}).json()
    rest = api.get("/v1/exports", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [e["id"] for e in first["data"] + rest["data"]] == made[::-1]


# --- long ones ------------------------------------------------------------------------------------


@pytest.fixture
def loaded(start_server, tmp_path_factory):
    """A server of its own with enough rows that an export takes a while."""
    folder = tmp_path_factory.mktemp("exports")
    server = start_server({"TESSERA_ATTACHMENT_DIR": str(folder)})
    token = server.new_token("loaded", scopes=["admin:full"])
    server.folder = folder / "exports"
    fill(server, 60000)
    return server, Api(server, token["token"], token["id"])


def fill(server, n):
    """n contacts, written behind the server's back."""
    team = "00000000-0000-7000-8000-000000000001"
    text = "lower(hex(randomblob(40)))" if not server.database else "md5(i::text) || md5(i::text)"
    source = ("WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < %d) " % n
              if not server.database else "")
    table = "s" if not server.database else f"generate_series(1, {n}) AS s (i)"
    sql = ("INSERT INTO contact (team_id, id, name, company, emails, phones, tags, terms, version, "
           f"created_ms, updated_ms, metadata) {source} SELECT '{team}', 'c' || i, {text}, {text}, "
           f"'[]', '[]', '[]', ' ', 1, 0, 0, '{{}}' FROM {table}")
    conn = server.database.connect_admin() if server.database else \
        sqlite3.connect(server.db_path, timeout=20)
    with contextlib.closing(conn):
        conn.cursor().execute(sql)
        conn.commit()


def test_five_at_once_then_conflict_and_a_delete_stops_one(loaded):
    server, api = loaded
    jobs = [start(api, source="contacts", format="xlsx") for _ in range(5)]

    assert_problem(api.post("/v1/exports", {"source": "tickets", "format": "csv"}), 409, "conflict")
    report = api.post("/v1/reports", {"name": "n", "definition": {
        "source": "tickets", "measures": [{"name": "n", "op": "count"}]}}).json()
    reply = api.post(f"/v1/reports/{report['id']}/export", {"format": "csv"})
    assert_problem(reply, 409, "conflict")
    assert_problem(api.get(f"/v1/exports/{jobs[4]['id']}/file"), 409, "conflict")
    for job in jobs[:0:-1]:
        assert api.delete(f"/v1/exports/{job['id']}").status_code == 204
    done = finished(api, jobs[0])

    assert (done["state"], done["rows"]) == ("done", 60000)
    wait_until(lambda: os.listdir(server.folder) == [jobs[0]["id"]], 5, "no other file is left")
    assert finished(api, start(api, source="tickets", format="csv"))["state"] == "done"


def test_rows_and_progress_grow_while_it_runs(loaded):
    _, api = loaded
    jobs = [start(api, source="contacts", format="xlsx") for _ in range(4)]
    seen = []

    def over():
        states = [api.get(f"/v1/exports/{job['id']}").json() for job in jobs]
        seen.extend((s["state"], s["rows"], s["progress"]) for s in states)
        return all(s["state"] == "done" for s in states)
    wait_until(over, 60, "all exports are done")

    assert {(r, p) for s, r, p in seen if s == "queued"} <= {(0, 0)}
    assert {(r, p) for s, r, p in seen if s == "done"} == {(60000, 100)}
    assert all(0 <= r <= 60000 and p <= 95 for s, r, p in seen if s == "running")


def test_a_restart_fails_what_was_not_done_and_keeps_what_was(loaded):
    server, api = loaded
    kept = finished(api, start(api, source="tickets", format="csv"))
    jobs = [start(api, source="contacts", format="xlsx") for _ in range(5)]
    server.kill9()
    server.start()

    states = {j["id"]: api.get(f"/v1/exports/{j['id']}").json() for j in jobs}
    lost = [s for s in states.values() if s["state"] != "done"]
    assert len(lost) >= 3
    assert {(s["state"], s["error"]) for s in lost} == {("failed", "interrupted by a restart")}
    assert api.get(f"/v1/exports/{kept['id']}/file").status_code == 200
    done = {kept["id"], *(i for i, s in states.items() if s["state"] == "done")}
    assert set(os.listdir(server.folder)) == done


def test_a_stop_does_not_wait_for_what_runs(loaded):
    server, api = loaded
    for _ in range(5):
        start(api, source="contacts", format="xlsx")

    assert server.stop() < 8
    server.start()


def test_a_file_that_is_gone_is_404(loaded):
    server, api = loaded
    job = finished(api, start(api, source="tickets", format="csv"))
    os.unlink(server.folder / job["id"])

    assert_problem(api.get(f"/v1/exports/{job['id']}/file"), 404, "not_found")


def test_the_documents_tokens_have_no_exports(new_api):
    assert_problem(new_api().get("/v1/exports"), 403, "insufficient_scope")
    assert new_api().get(V0 + "/exports").status_code == 404

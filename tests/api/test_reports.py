"""/v1/reports: saved definitions, what they refuse, and the figures they give."""

import contextlib
import datetime
import sqlite3
import uuid

import pytest
from harness.client import Api, assert_problem
from harness.tenants import Tenant
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
COUNT = {"name": "n", "op": "count"}


@pytest.fixture(scope="module")
def module_tenant(common_server):
    return Tenant(common_server, "reports")


@pytest.fixture
def tenant(server, module_tenant):
    """A team that the tests of this file share."""
    return module_tenant


@pytest.fixture
def own(server):
    """A team of the test's own."""
    return Tenant(server, "figures")


@pytest.fixture
def admin(tenant):
    return tenant.api


def definition(source="tickets", measures=None, **more):
    return {"source": source, "measures": measures or [COUNT], **more}


def save(api, **more):
    reply = api.post("/v1/reports", {"name": "A report", "definition": definition(**more)})
    assert reply.status_code == 201, reply.text
    return reply.json()


def execute(api, source="tickets", measures=None, **more):
    """The whole result of a definition that is not saved."""
    reply = api.post("/v1/reports/execute", {"definition": definition(source, measures, **more)})
    assert reply.status_code == 200, reply.text
    return reply.json()


def rows(api, *args, **more):
    return execute(api, *args, **more)["rows"]


def refused(api, path, code="invalid_field", **more):
    """The definition is refused with 422 that names the path below definition."""
    body = definition(**more)
    for url in ("/v1/reports", "/v1/reports/execute"):
        sent = {"definition": body, **({"name": "x"} if url == "/v1/reports" else {})}
        reply = api.post(url, sent)
        problem = assert_problem(reply, 422, None, fields=[f"definition.{path}"])
        assert code in {e["code"] for e in problem["errors"]}, problem


def ms(text):
    return int(datetime.datetime.fromisoformat(text).timestamp() * 1000)


def alter(server, table, row_id, **values):
    """Put times into the past, behind the server's back."""
    conn = server.database.connect_admin() if server.database else \
        sqlite3.connect(server.db_path, timeout=20)
    mark = "%s" if server.database else "?"
    with contextlib.closing(conn):
        cur = conn.cursor()
        cur.execute(f"UPDATE {table} SET {', '.join(f'{k} = {mark}' for k in values)} "
                    f"WHERE id = {mark}", [*values.values(), row_id])
        assert cur.rowcount == 1
        conn.commit()


# --- saved reports --------------------------------------------------------------------------------


def test_create_answers_201_with_every_member_of_the_definition(admin):
    reply = admin.post("/v1/reports", {"name": "By status", "definition": definition(
        group_by=["status"], sort=[{"by": "n", "order": "desc"}], **{"from": "-30d"})})

    made = reply.json()
    assert reply.status_code == 201 and reply.headers["ETag"] == '"v1"'
    assert reply.headers["Location"].endswith(f"/v1/reports/{made['id']}")
    assert made["definition"] == {
        "source": "tickets", "filters": [], "group_by": ["status"], "bucket": None,
        "measures": [{"name": "n", "op": "count", "field": None}],
        "sort": [{"by": "n", "order": "desc"}], "limit": 1000, "from": "-30d", "to": None}
    assert made["description"] is None and made["version"] == 1
    assert admin.get(f"/v1/reports/{made['id']}").json() == made


def test_what_is_shown_can_be_sent_again(admin):
    made = save(admin, filters=[{"field": "status", "op": "in", "value": ["open", "closed"]},
                                {"field": "assignee_id", "op": "is_null"},
                                {"field": "title", "op": "contains", "value": "ä\"%"}],
                bucket={"field": "created_at", "unit": "week"})

    again = admin.post("/v1/reports", {"name": "x", "definition": made["definition"]}).json()

    assert again["definition"] == made["definition"]
    assert made["definition"]["bucket"]["time_zone"] == "UTC"
    assert made["definition"]["filters"][2]["value"] == "ä\"%"


def test_patch_changes_what_it_names_and_takes_a_definition_whole(admin):
    made = save(admin, group_by=["status"])
    path = f"/v1/reports/{made['id']}"

    renamed = admin.patch(path, {"name": "New", "description": "text"})
    changed = admin.patch(path, {"definition": definition(source="contacts"), "description": None})

    assert renamed.json()["definition"] == made["definition"]
    assert renamed.headers["ETag"] == '"v2"'
    after = changed.json()
    assert (after["name"], after["description"], after["version"]) == ("New", None, 3)
    assert after["definition"]["source"] == "contacts" and after["definition"]["group_by"] == []
    assert_problem(admin.patch(path, {"name": None}), 422, fields=["name"])
    assert_problem(admin.patch(path, {"definition": {"source": "x"}}), 422,
                   fields=["definition.source", "definition.measures"])
    assert admin.get(path).json() == after


def test_if_match_of_an_old_version_is_412(admin):
    path = f"/v1/reports/{save(admin)['id']}"
    assert admin.patch(path, {"name": "two"}, headers={"If-Match": '"v1"'}).status_code == 200

    assert_problem(admin.patch(path, {"name": "three"}, headers={"If-Match": '"v1"'}), 412)
    assert_problem(admin.delete(path, headers={"If-Match": '"v1"'}), 412)
    reply = admin.get(path, headers={"If-None-Match": '"v2"'})
    assert (reply.status_code, reply.content) == (304, b"")


def test_a_deleted_report_is_gone_with_its_schedules(admin):
    path = f"/v1/reports/{save(admin)['id']}"
    schedule = admin.post(path + "/schedules", {"kind": "daily", "at": "07:00",
                                                "recipients": ["a@example.com"]}).json()

    assert admin.delete(path).status_code == 204

    assert_problem(admin.get(path), 404, "not_found")
    assert_problem(admin.delete(path), 404)
    assert_problem(admin.post(path + "/execute", {}), 404)
    assert_problem(admin.get(f"{path}/schedules/{schedule['id']}"), 404)
    assert path.split("/")[-1] not in admin.get("/v1/reports").text


def test_the_list_is_paged_and_searched(admin):
    mark = uuid.uuid4().hex
    made = [admin.post("/v1/reports", {"name": f"Part {i} {mark}",
                                       "definition": definition()}).json()["id"] for i in range(5)]

    found, cursor = [], None
    for _ in range(3):
        page = admin.get("/v1/reports", params={"q": mark.upper(), "limit": 2, **(
            {"cursor": cursor} if cursor else {})}).json()
        found += [r["id"] for r in page["data"]]
        cursor = page["next_cursor"]

    assert cursor is None and found == made
    assert_problem(admin.get("/v1/reports", params={"sort": "x"}), 400, fields=["sort"])


def test_an_absent_report_is_404_and_a_malformed_id_400(admin):
    for method, end, body in (("GET", "", None), ("PATCH", "", {"name": "x"}), ("DELETE", "", None),
                              ("POST", "/execute", {}), ("POST", "/export", {"format": "csv"})):
        kwargs = {"json": body} if body is not None else {}
        assert_problem(admin.request(method, f"/v1/reports/{ABSENT}{end}", **kwargs), 404)
        assert_problem(admin.request(method, f"/v1/reports/nope{end}", **kwargs), 400,
                       "invalid_parameter", fields=["report_id"])


def test_bodies_that_are_no_report_are_refused(admin):
    assert_problem(admin.post_raw("/v1/reports", b"{"), 400, "invalid_json")
    assert_problem(admin.post("/v1/reports", {}), 422, "missing_required_field",
                   fields=["name", "definition"])
    assert_problem(admin.post("/v1/reports", {"name": " ", "definition": 1, "id": ABSENT}), 422,
                   fields=["name", "definition", "id"])


def test_every_change_is_in_the_audit_log(admin):
    made = save(admin)
    path = f"/v1/reports/{made['id']}"
    after = admin.patch(path, {"name": "Renamed"}).json()
    assert admin.delete(path).status_code == 204

    log = admin.get("/v1/audit", params={"target_id": made["id"]}).json()["data"]

    found = {row["action"]: row for row in log}
    assert set(found) == {"report.create", "report.update", "report.delete"}
    assert (found["report.update"]["before"], found["report.update"]["after"]) == (made, after)


# --- what a definition may say --------------------------------------------------------------------


def test_the_fields_describe_every_source(admin):
    reply = admin.get("/v1/reports/fields")

    sources = {s["name"]: s for s in reply.json()["sources"]}
    assert reply.status_code == 200
    assert set(sources) == {"tickets", "comments", "contacts", "usage"}
    fields = {f["name"]: f for f in sources["tickets"]["fields"]}
    assert fields["status"]["words"] == ["open", "in_progress", "waiting", "resolved", "closed"]
    assert fields["resolution_time"]["measures"] == ["sum", "avg", "min", "max"]
    assert fields["created_at"]["is_bucket"] and not fields["created_at"]["is_group"]
    assert sources["usage"]["scope"] == "usage:read"


def test_every_field_does_what_its_description_says(admin):
    values = {"text": "x", "id": ABSENT, "time": "-1d", "integer": 5, "boolean": True}
    tried = 0
    for source in admin.get("/v1/reports/fields").json()["sources"]:
        for field in source["fields"]:
            value = (field["words"] or [values[field["type"]]])[0]
            filters = [{"field": field["name"], "op": op,
                        "value": [value] if op == "in" else False if op == "is_null" else value}
                       for op in field["operators"]]
            measures = [COUNT] + [{"name": op, "op": op, "field": field["name"]}
                                  for op in field["measures"]]
            more = {"group_by": [field["name"]]} if field["is_group"] else {}
            for bucket in ([None, "day"] if field["is_bucket"] else [None]):
                if bucket:
                    more["bucket"] = {"field": field["name"], "unit": bucket}
                execute(admin, source["name"], measures, filters=filters, **more)
                tried += 1
    assert tried > 30


@pytest.mark.parametrize("path,more", [
    ("source", {"source": "users"}),
    ("filters[1].field", {"filters": [{"field": "status", "op": "eq", "value": "open"},
                                      {"field": "secret", "op": "eq", "value": 1}]}),
    ("filters[0].field", {"filters": [{"field": "1; DROP TABLE report", "op": "eq", "value": 1}]}),
    ("filters[0].op", {"filters": [{"field": "status", "op": "gt", "value": "open"}]}),
    ("filters[0].op", {"filters": [{"field": "status", "op": "like", "value": "open"}]}),
    ("filters[0].value", {"filters": [{"field": "status", "op": "eq", "value": "gone"}]}),
    ("filters[0].value", {"filters": [{"field": "status", "op": "eq", "value": ["open"]}]}),
    ("filters[0].value", {"filters": [{"field": "status", "op": "in", "value": "open"}]}),
    ("filters[0].value", {"filters": [{"field": "status", "op": "in", "value": []}]}),
    ("filters[0].value[1]", {"filters": [{"field": "status", "op": "in", "value": ["open", 3]}]}),
    ("filters[0].value", {"filters": [{"field": "category", "op": "in", "value": ["x"] * 51}]}),
    ("filters[0].value", {"filters": [{"field": "project_id", "op": "eq", "value": "7"}]}),
    ("filters[0].value", {"filters": [{"field": "created_at", "op": "gt", "value": "soon"}]}),
    ("filters[0].value", {"filters": [{"field": "resolution_time", "op": "gt", "value": 1.5}]}),
    ("filters[0].value", {"filters": [{"field": "category", "op": "eq", "value": "x" * 501}]}),
    ("filters[0].value", {"filters": [{"field": "status", "op": "is_null", "value": "no"}]}),
    ("filters", {"filters": [{"field": "category", "op": "in", "value": ["x"] * 50}] * 4}),
    ("group_by[0]", {"group_by": ["created_at"]}),
    ("group_by[1]", {"group_by": ["status", "status"]}),
    ("group_by", {"group_by": ["status", "priority", "category", "project_id"]}),
    ("bucket.field", {"bucket": {"field": "status", "unit": "day"}}),
    ("bucket.unit", {"bucket": {"field": "created_at", "unit": "minute"}}),
    ("bucket.time_zone", {"bucket": {"field": "created_at", "unit": "day", "time_zone": "CET+1x"}}),
    ("measures[0].op", {"measures": [{"name": "x", "op": "median", "field": "status"}]}),
    ("measures[0].field", {"measures": [{"name": "x", "op": "sum", "field": "status"}]}),
    ("measures[0].field", {"measures": [{"name": "x", "op": "count", "field": "status"}]}),
    ("measures[1].name", {"measures": [COUNT, COUNT]}),
    ("measures[0].name", {"measures": [{"name": "bucket", "op": "count"}]}),
    ("measures[0].name", {"group_by": ["status"], "measures": [{"name": "status", "op": "count"}]}),
    ("sort[0].by", {"sort": [{"by": "status"}]}),
    ("sort[0].order", {"sort": [{"by": "n", "order": "up"}]}),
    ("limit", {"limit": 10001}),
    ("limit", {"limit": 0}),
    ("from", {"from": "yesterday"}),
    ("to", {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}),
    ("sql", {"sql": "SELECT 1"}),
])
def test_what_is_wrong_is_named_by_its_path(admin, path, more):
    refused(admin, path, **more)


@pytest.mark.parametrize("path,more", [
    ("filters[0].value", {"filters": [{"field": "status", "op": "eq"}]}),
    ("filters[0].op", {"filters": [{"field": "status"}]}),
    ("measures[0].field", {"measures": [{"name": "x", "op": "avg"}]}),
])
def test_what_is_missing_is_named_by_its_path(admin, path, more):
    refused(admin, path, code="missing_required_field", **more)


def test_with_a_bucket_one_field_is_counted_distinct(admin):
    two = [{"name": "a", "op": "count_distinct", "field": "category"},
           {"name": "b", "op": "count_distinct", "field": "project_id"}]
    bucket = {"field": "created_at", "unit": "day"}

    refused(admin, "measures[1].field", measures=two, bucket=bucket)
    assert execute(admin, measures=two)["rows"]
    assert "rows" in execute(admin, measures=two[:1] + [{**two[0], "name": "c"}], bucket=bucket)


# --- figures --------------------------------------------------------------------------------------


def test_groups_are_counted_ordered_and_cut(own):
    for status, priority, n in (("open", "high", 3), ("open", "low", 1), ("closed", "high", 2)):
        for _ in range(n):
            own.api.create_v1("x", status=status, priority=priority)

    got = execute(own.api, group_by=["status", "priority"], sort=[{"by": "n", "order": "desc"}])
    cut = execute(own.api, group_by=["priority"], sort=[{"by": "n", "order": "desc"}], limit=1)

    assert got["columns"] == [{"name": "status", "type": "text"},
                              {"name": "priority", "type": "text"}, {"name": "n", "type": "integer"}]
    assert got["rows"] == [["open", "high", 3], ["closed", "high", 2], ["open", "low", 1]]
    assert (got["truncated"], got["from"], got["to"]) == (False, None, None)
    assert (cut["rows"], cut["truncated"]) == ([["high", 5]], True)


def test_without_groups_there_is_one_row_even_of_nothing(own):
    measures = [COUNT, {"name": "s", "op": "sum", "field": "resolution_time"},
                {"name": "a", "op": "avg", "field": "resolution_time"},
                {"name": "d", "op": "count_distinct", "field": "status"},
                {"name": "m", "op": "max", "field": "created_at"}]

    assert rows(own.api, measures=measures) == [[0, None, None, 0, None]]
    assert rows(own.api, measures=measures, group_by=["status"]) == []
    assert rows(own.api, bucket={"field": "created_at", "unit": "day"}) == []


def test_filters_are_and_ed(own):
    api = own.api
    api.create_v1("Printer on fire", category="hardware", status="open")
    api.create_v1("printer 100% jammed", category="Hardware", status="closed")
    api.create_v1("No printer_x", status="open")

    def count(*filters):
        return rows(api, filters=[dict(zip(("field", "op", "value"), f)) for f in filters])[0][0]

    assert count(("title", "contains", "PRINTER")) == 3
    assert count(("title", "contains", "100%")) == 1
    assert count(("title", "contains", "r_x")) == 1
    assert count(("category", "eq", "hardware")) == 1
    assert count(("category", "ne", "hardware")) == 2        # also the one without a value
    assert count(("category", "is_null", True)) == count(("category", "is_null")) == 1
    assert count(("category", "is_null", False)) == 2
    assert count(("status", "in", ["open", "waiting"])) == 2
    assert count(("status", "eq", "open"), ("category", "is_null", False)) == 1
    assert count(("created_at", "gt", "-1h"), ("created_at", "lte", "now")) == 3
    assert count(("created_at", "lt", "2020-01-01")) == 0
    assert count(("title", "eq", "x' OR '1'='1")) == 0


def test_resolution_time_is_measured(server, own):
    first, second, _ = (own.api.create_v1(t) for t in ("a", "b", "open"))
    for ticket, seconds in ((first, 100), (second, 301)):
        own.api.patch(f"/v1/tickets/{ticket['id']}", {"status": "resolved"})
        begin = ms("2026-01-01T00:00:00+00:00")
        alter(server, "tickets", ticket["id"], created_ms=begin, resolved_ms=begin + seconds * 1000)

    measures = [{"name": op, "op": op, "field": "resolution_time"}
                for op in ("sum", "avg", "min", "max")]
    got = execute(own.api, measures=[COUNT, *measures])

    assert got["rows"] == [[3, 401, 200.5, 100, 301]]
    assert [c["type"] for c in got["columns"]] == ["integer"] * 2 + ["number"] + ["integer"] * 2
    times = rows(own.api, measures=[{"name": "m", "op": "min", "field": "created_at"}])
    assert times == [["2026-01-01T00:00:00.000Z"]]


def test_buckets_follow_the_calendar_of_the_zone(server, own):
    """Three tickets around the night in which Berlin's clocks are put forward."""
    for at in ("2026-03-28T22:59:00+00:00", "2026-03-28T23:00:00+00:00", "2026-03-29T21:59:59+00:00",
               "2026-03-29T22:00:00+00:00"):
        ticket = own.api.create_v1("x", category=at[:10])
        alter(server, "tickets", ticket["id"], created_ms=ms(at))

    def by(unit, zone):
        return rows(own.api, bucket={"field": "created_at", "unit": unit, "time_zone": zone})

    assert by("day", "Europe/Berlin") == [["2026-03-28T00:00:00+01:00", 1],
                                          ["2026-03-29T00:00:00+01:00", 2],
                                          ["2026-03-30T00:00:00+02:00", 1]]
    assert by("day", "UTC") == [["2026-03-28T00:00:00+00:00", 2], ["2026-03-29T00:00:00+00:00", 2]]
    assert by("week", "Europe/Berlin") == [["2026-03-23T00:00:00+01:00", 3],
                                           ["2026-03-30T00:00:00+02:00", 1]]
    assert by("month", "Asia/Kathmandu") == [["2026-03-01T00:00:00+05:45", 4]]
    assert by("quarter", "America/New_York") == [["2026-01-01T00:00:00-05:00", 4]]
    assert by("year", "Europe/Berlin") == [["2026-01-01T00:00:00+01:00", 4]]
    assert by("hour", "Europe/Berlin")[:2] == [["2026-03-28T23:00:00+01:00", 1],
                                               ["2026-03-29T00:00:00+01:00", 1]]


def test_the_hours_of_the_same_name_are_two_rows(server, own):
    for at in ("2026-10-25T00:30:00+00:00", "2026-10-25T01:30:00+00:00"):
        alter(server, "tickets", own.api.create_v1("x")["id"], created_ms=ms(at))

    assert rows(own.api, bucket={"field": "created_at", "unit": "hour",
                                 "time_zone": "Europe/Berlin"}) == [
        ["2026-10-25T02:00:00+02:00", 1], ["2026-10-25T02:00:00+01:00", 1]]


def test_distinct_values_are_counted_over_quarter_hours(server, own):
    """The same category in two quarters of an hour is one value of the day."""
    for minute, category in ((0, "a"), (20, "a"), (40, "b"), (50, None)):
        alter(server, "tickets", own.api.create_v1("x", **({"category": category} if category
                                                           else {}))["id"],
              created_ms=ms(f"2026-02-01T10:{minute:02}:00+00:00"))

    got = rows(own.api, bucket={"field": "created_at", "unit": "day"}, measures=[
        COUNT, {"name": "categories", "op": "count_distinct", "field": "category"},
        {"name": "last", "op": "max", "field": "created_at"}])

    assert got == [["2026-02-01T00:00:00+00:00", 4, 2, "2026-02-01T10:50:00.000Z"]]


def test_groups_and_buckets_together_and_nothing_comes_last(server, own):
    for day, category in ((1, "b"), (1, None), (2, "a"), (2, "b"), (2, "b")):
        alter(server, "tickets", own.api.create_v1("x", **({"category": category} if category
                                                           else {}))["id"],
              created_ms=ms(f"2026-02-0{day}T10:00:00+00:00"))
    bucket = {"field": "created_at", "unit": "day"}
    first, second = "2026-02-01T00:00:00+00:00", "2026-02-02T00:00:00+00:00"

    assert rows(own.api, bucket=bucket, group_by=["category"]) == [
        [first, "b", 1], [first, None, 1], [second, "a", 1], [second, "b", 2]]
    assert rows(own.api, bucket=bucket, group_by=["category"], sort=[
        {"by": "category", "order": "desc"}, {"by": "bucket", "order": "desc"}]) == [
        [second, "b", 2], [first, "b", 1], [second, "a", 1], [first, None, 1]]


def test_from_and_to_bound_the_bucket_or_the_creation(server, own):
    for day in (1, 2, 3):
        alter(server, "tickets", own.api.create_v1("x")["id"],
              created_ms=ms(f"2026-02-0{day}T00:00:00+00:00"),
              updated_ms=ms(f"2026-03-0{day}T00:00:00+00:00"))
    span = {"from": "2026-02-02T00:00:00Z", "to": "2026-02-03T00:00:00Z"}

    got = execute(own.api, **span)

    assert got["rows"] == [[1]]
    assert (got["from"], got["to"]) == ("2026-02-02T00:00:00.000Z", "2026-02-03T00:00:00.000Z")
    assert rows(own.api, bucket={"field": "updated_at", "unit": "day"}, **span) == []


def test_a_saved_report_runs_with_another_range(server, own):
    alter(server, "tickets", own.api.create_v1("x")["id"], created_ms=ms("2026-02-01T00:00:00+00:00"))
    own.api.create_v1("new")
    path = f"/v1/reports/{save(own.api, **{'from': '-1d'})['id']}/execute"

    assert own.api.post(path, {}).json()["rows"] == [[1]]
    assert own.api.post(path, {"from": "2026-01-01T00:00:00Z"}).json()["rows"] == [[2]]
    assert own.api.post(path, {"from": "2026-01-01T00:00:00Z", "to": "-1d"}).json()["rows"] == [[1]]
    assert_problem(own.api.post(path, {"from": "x", "to": "y"}), 422, fields=["from", "to"])
    assert_problem(own.api.post(path, {"to": "2020-01-01T00:00:00Z"}), 422, fields=["to"])
    assert_problem(own.api.post(path, {"limit": 1}), 422, fields=["limit"])


def test_comments_of_live_tickets_are_counted(own):
    kept, gone = own.api.create_v1("kept"), own.api.create_v1("gone")
    for ticket, internal in ((kept, True), (kept, False), (kept, False), (gone, False)):
        own.api.post(f"/v1/tickets/{ticket['id']}/comments",
                     {"content": "x", "is_internal": internal})
    own.api.delete(f"/v1/tickets/{gone['id']}")

    assert rows(own.api, "comments", group_by=["is_internal"]) == [[False, 2], [True, 1]]
    assert rows(own.api, "comments", group_by=["ticket_id"]) == [[kept["id"], 3]]
    assert rows(own.api, "comments", filters=[
        {"field": "is_internal", "op": "eq", "value": True}]) == [[1]]


def test_live_contacts_are_counted(own):
    for company in ("Acme", "Acme", "Beta", None):
        made = own.api.post("/v1/contacts", {"name": "x", **({"company": company} if company
                                                             else {})}).json()
    own.api.delete(f"/v1/contacts/{made['id']}")

    assert rows(own.api, "contacts", group_by=["company"]) == [["Acme", 2], ["Beta", 1]]


def test_usage_agrees_with_the_dashboard(own):
    key = own.new_key(["tickets:read"])
    caller = Api(own.server, key["token"], key["id"])
    for _ in range(7):
        caller.get("/v1/tickets")
    for _ in range(3):
        assert caller.post("/v1/tickets", {"title": "x"}).status_code == 403
    only = [{"field": "key", "op": "eq", "value": key["id"]}]

    def counted():
        got = rows(own.api, "usage", filters=only, group_by=["method", "status_class"])
        return got if sum(r[2] for r in got) >= 10 else None
    got = {tuple(r[:2]): r[2] for r in wait_until(counted, 5, "ten requests in the rollups")}

    assert got[("POST", "4xx")] == 3 and got[("GET", "2xx")] >= 7
    stats = own.api.get(f"/v1/api-keys/{key['id']}/stats").json()
    total, mean, p95 = rows(own.api, "usage", filters=only, measures=[
        COUNT, {"name": "mean", "op": "avg", "field": "response_time_us"},
        {"name": "p95", "op": "p95", "field": "response_time_us"}])[0]
    assert (total, int(mean), p95) == (stats["requests_total"], stats["average_us"],
                                       stats["p95_us"])
    by_hour = rows(own.api, "usage", filters=only,
                   bucket={"field": "created_at", "unit": "hour", "time_zone": "Asia/Kathmandu"})
    assert sum(r[1] for r in by_hour) == total


# --- who sees what --------------------------------------------------------------------------------


def test_a_key_counts_its_own_tickets_and_their_comments(own):
    scopes = ["tickets:read", "tickets:write", "tickets:comment", "reports:execute"]
    mine, theirs = own.api_with(scopes), own.api_with(scopes)
    ticket = mine.create_v1("mine")
    foreign = theirs.create_v1("theirs")
    mine.post(f"/v1/tickets/{ticket['id']}/comments", {"content": "x"})
    theirs.post(f"/v1/tickets/{foreign['id']}/comments", {"content": "x"})
    for internal in (True, False):
        own.api.post(f"/v1/tickets/{ticket['id']}/comments",
                     {"content": "x", "is_internal": internal})

    assert rows(mine) == rows(theirs) == [[1]] and rows(own.api) == [[2]]
    assert rows(mine, "comments") == [[2]]       # not the internal one of another
    assert rows(own.api, "comments") == [[4]]


def test_another_teams_rows_are_never_counted(own, tenant):
    word = uuid.uuid4().hex
    tenant.api.create_v1(word)

    assert rows(own.api) == [[0]]
    assert rows(own.api, "usage", filters=[
        {"field": "key", "op": "eq", "value": tenant.key["id"]}]) == [[0]]


@pytest.mark.parametrize("source,scope", [
    ("tickets", "tickets:read"), ("comments", "tickets:read"), ("contacts", "contacts:read"),
    ("usage", "admin:full")])
def test_running_needs_the_scope_of_the_source_too(tenant, source, scope):
    report = save(tenant.api, source=source)
    bare = tenant.api_with(["reports:execute"])

    for path, body in ((f"/v1/reports/{report['id']}/execute", {}),
                       ("/v1/reports/execute", {"definition": definition(source)})):
        problem = assert_problem(bare.post(path, body), 403, "insufficient_scope")
        assert scope in problem["detail"]
    if scope != "admin:full":
        enough = tenant.api_with(["reports:execute", scope])
        assert enough.post(f"/v1/reports/{report['id']}/execute", {}).status_code == 200


def test_each_route_names_the_scope_it_needs(tenant, anonymous):
    report = save(tenant.api)
    path = f"/v1/reports/{report['id']}"
    body = {"name": "x", "definition": definition()}
    calls = [("GET", "/v1/reports", None, "reports:read"),
             ("GET", "/v1/reports/fields", None, "reports:read"),
             ("GET", path, None, "reports:read"),
             ("POST", "/v1/reports", body, "reports:write"),
             ("PATCH", path, {"name": "x"}, "reports:write"),
             ("DELETE", path, None, "reports:write"),
             ("POST", "/v1/reports/execute", {"definition": definition()}, "reports:execute"),
             ("POST", path + "/execute", {}, "reports:execute"),
             ("POST", path + "/export", {"format": "csv"}, "reports:export")]
    for method, target, sent, scope in calls:
        others = [s for s in ("reports:read", "reports:write", "reports:execute", "reports:export",
                              "tickets:read") if s != scope]
        kwargs = {"json": sent} if sent is not None else {}
        problem = assert_problem(tenant.api_with(others).request(method, target, **kwargs), 403,
                                 "insufficient_scope")
        assert scope in problem["detail"]
        assert_problem(anonymous.request(method, target, **kwargs), 401, "missing_token")
    reader = tenant.api_with(["reports:read"])
    assert reader.get(path).json() == report


# --- bounds ---------------------------------------------------------------------------------------


def test_too_many_groups_are_refused_with_a_reason(server, own):
    """100,001 values of a group, written behind the server's back."""
    sql = ("INSERT INTO contact (team_id, id, name, company, emails, phones, tags, terms, version, "
           "created_ms, updated_ms, metadata) ")
    if server.database:
        sql += ("SELECT %s, 'c' || i, 'x', 'company ' || i, '[]', '[]', '[]', ' ', 1, 0, 0, '{}' "
                "FROM generate_series(1, 100001) AS s (i)")
        conn = server.database.connect_admin()
    else:
        sql += ("WITH RECURSIVE s (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM s WHERE i < 100001) "
                "SELECT ?, 'c' || i, 'x', 'company ' || i, '[]', '[]', '[]', ' ', 1, 0, 0, '{}' FROM s")
        conn = sqlite3.connect(server.db_path, timeout=20)
    with contextlib.closing(conn):
        conn.cursor().execute(sql, [own.id])
        conn.commit()

    reply = own.api.post("/v1/reports/execute",
                         {"definition": definition("contacts", group_by=["company"])})

    problem = assert_problem(reply, 422, "invalid_field", fields=["definition"])
    assert "100000 groups" in problem["detail"]
    less = execute(own.api, "contacts", group_by=["company"], limit=10000, filters=[
        {"field": "company", "op": "contains", "value": "company 1"}])
    assert len(less["rows"]) == 10000 and less["truncated"]

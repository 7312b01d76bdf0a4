"""/v1/usage and the statistics of keys: figures that agree with each other and with the log."""

import csv
import datetime
import io
import json
import os
import time

import pytest
from harness import mmdb, truth
from harness.client import Api, assert_problem
from harness.jobs import run_now, wait_rest
from harness.server import V0
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
FIGURES = ("/v1/usage/dashboard", "/v1/usage/timeseries", "/v1/usage/routes", "/v1/usage/countries",
           "/v1/usage/requests", "/v1/usage/requests/export", f"/v1/api-keys/{ABSENT}/stats")
COLUMNS = ["id", "created_at", "key_id", "method", "route", "status", "response_time_us", "ip",
           "country", "user_agent", "error", "request_payload"]


def admin_of(server):
    made = server.new_token("analyst", scopes=["admin:full"])
    return Api(server, made["token"], made["id"])


@pytest.fixture(scope="module")
def admin(common_server):
    return admin_of(common_server)


def ask(api, path, **params):
    reply = api.get(path, params=params)
    assert reply.status_code == 200, reply.text
    return reply.json()


def log(api, **params):
    """Every request over all pages."""
    found = []
    for _ in range(1000):
        page = ask(api, "/v1/usage/requests", **params)
        found += page["data"]
        if not page["next_cursor"]:
            return found
        params["cursor"] = page["next_cursor"]
    raise AssertionError("paging does not end")


def wait_log(api, count, **params):
    return wait_until(lambda: len(log(api, **params)) >= count and log(api, **params), 4,
                      f"{count} requests in the log for {params}")


def busy(api, n=6):
    """2 n + 1 successes, n wrong requests, one unknown ticket."""
    for i in range(n):
        ticket = api.create_v1(f"busy {i}")
        api.get(f"/v1/tickets/{ticket['id']}")
        api.post("/v1/tickets", {"title": ""})
    api.get("/v1/tickets", params={"limit": 1})
    api.get(f"/v1/tickets/{ABSENT}")


def moment(shift_s=0):
    now = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=shift_s)
    return now.strftime("%Y-%m-%dT%H:%M:%SZ")


# --- who may -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", FIGURES)
def test_only_admins_see_usage(new_api, anonymous, path):
    assert_problem(anonymous.get(path), 401, "missing_token")
    assert_problem(new_api().get(path), 403, "insufficient_scope")


@pytest.mark.parametrize("path,params", [
    ("/v1/usage/timeseries", {"bucket": "week"}),
    ("/v1/usage/timeseries", {"from": "yesterday"}),
    ("/v1/usage/timeseries", {"key_id": "nobody"}),
    ("/v1/usage/timeseries", {"status_class": "6xx"}),
    ("/v1/usage/timeseries", {"to": "2020-01-01T00:00:00Z", "from": "2020-01-02T00:00:00Z"}),
    ("/v1/usage/timeseries", {"from": "2020-01-01T00:00:00Z", "bucket": "minute"}),
    ("/v1/usage/routes", {"form": "2020-01-01T00:00:00Z"}),
    ("/v1/usage/countries", {"to": "x"}),
    ("/v1/usage/requests", {"limit": "0"}),
    ("/v1/usage/requests", {"limit": "201"}),
    ("/v1/usage/requests", {"cursor": "nonsense"}),
    ("/v1/usage/requests", {"key_id": "1"}),
    ("/v1/usage/requests", {"ip": "localhost"}),
    ("/v1/usage/requests", {"country": "DEU"}),
    ("/v1/usage/requests", {"status": "99"}),
    ("/v1/usage/requests", {"status_class": "200"}),
    ("/v1/usage/requests", {"method": "BREW"}),
    ("/v1/usage/requests", {"to": "2020-01-01T00:00:00Z", "from": "2020-01-02T00:00:00Z"}),
    ("/v1/usage/requests/export", {"format": "xml"}),
    ("/v1/usage/requests/export", {"limit": "5"}),
])
def test_wrong_parameters_are_refused_by_name(admin, path, params):
    reply = admin.get(path, params=params)

    assert_problem(reply, 400, "invalid_parameter")
    assert next(iter(params)) in reply.text


# --- figures -------------------------------------------------------------------------------------


def figures(admin, key_id):
    """What each of the views says about one key: (requests, errors)."""
    span = {"from": moment(-600), "to": moment(60)}
    series = [ask(admin, "/v1/usage/timeseries", bucket=b, key_id=key_id, **span)["data"]
              for b in ("minute", "hour", "day", "month")]
    top = {k["key_id"]: k for k in ask(admin, "/v1/usage/dashboard")["top_keys"]}.get(key_id, {})
    stats = ask(admin, f"/v1/api-keys/{key_id}/stats")
    rows = log(admin, key_id=key_id)
    return {
        "log": (len(rows), sum(r["status"] >= 400 for r in rows)),
        "stats": (stats["requests_today"], stats["errors_today"]),
        "total": (stats["requests_total"], stats["errors_total"]),
        "dashboard": (top.get("requests"), top.get("errors")),
        **{f"series {i}": (sum(p["requests"] for p in s), sum(p["errors"] for p in s))
           for i, s in enumerate(series)},
    }


def test_all_views_agree_on_known_requests(fresh_server):
    admin = admin_of(fresh_server)
    made = fresh_server.new_token("busy", wait=False)
    api = Api(fresh_server, made["token"], made["id"])
    wait_until(lambda: api.get("/v1/tickets").status_code == 200, 2, "the key works")
    before = len(wait_log(admin, 1, key_id=made["id"]))
    busy(api, 6)
    wanted = (before + 20, before - 1 + 7)

    wait_until(lambda: set(figures(admin, made["id"]).values()) == {wanted}, 6,
               f"every view says {wanted}: {figures(admin, made['id'])}")
    assert figures(admin, made["id"])["log"] == wanted


def test_the_sums_of_the_team_agree(fresh_server):
    admin = admin_of(fresh_server)
    made = fresh_server.new_token("busy")
    busy(Api(fresh_server, made["token"], made["id"]), 5)
    wait_log(admin, 18, key_id=made["id"])

    def agreed():
        """One moment in which nothing of ours is on its way."""
        first = len(log(admin))
        board = ask(admin, "/v1/usage/dashboard")
        routes = ask(admin, "/v1/usage/routes")["data"]
        countries = ask(admin, "/v1/usage/countries")["data"]
        hours = ask(admin, "/v1/usage/timeseries", bucket="hour")["data"]
        days = ask(admin, "/v1/usage/timeseries", bucket="day")["data"]
        keys = sum(k["requests"] for k in board["top_keys"])
        # What was asked in between is counted within a second: compare with what came before us.
        low = first - 1
        sums = [board["requests_today"], keys, sum(r["requests"] for r in routes),
                sum(c["requests"] for c in countries), sum(p["requests"] for p in hours),
                sum(p["requests"] for p in days)]
        return all(s >= low for s in sums) and max(sums) - min(sums) <= 5 and (board, routes)
    board, routes = wait_until(agreed, 6, "the sums agree but for the questions themselves")

    assert board["active_keys"] == 2
    assert board["requests_total"] == board["requests_today"]
    assert board["rate_limited_today"] == 0
    good = board["requests_today"] - board["errors_today"]
    assert board["success_rate_bp"] == good * 10000 // board["requests_today"]
    assert 0 < board["p50_us"] <= board["p95_us"] <= board["p99_us"]
    assert board["average_us"] > 0
    one = next(r for r in routes if r["route"] == "POST /v1/tickets")
    assert (one["requests"], one["errors"], one["status_2xx"], one["status_4xx"]) == (10, 5, 5, 5)
    for r in routes:
        assert r["requests"] == sum(r[f"status_{i}xx"] for i in range(2, 6))
        assert r["errors"] == r["status_4xx"] + r["status_5xx"]


def test_views_agree_after_a_hard_kill(fresh_server):
    admin = admin_of(fresh_server)
    made = fresh_server.new_token("busy")
    busy(Api(fresh_server, made["token"], made["id"]), 8)
    fresh_server.kill9()
    fresh_server.start()
    admin = Api(fresh_server, admin.token, admin.token_id)

    def agreed():
        seen = set(figures(admin, made["id"]).values())
        return len(seen) == 1 and seen
    (requests, _), = wait_until(agreed, 6, "one figure everywhere")
    assert requests >= 8           # the creates had their rows when they were answered
    total = sum(c["requests"] for c in ask(admin, "/v1/usage/countries")["data"])
    assert total >= requests


def test_a_key_nobody_used_has_zeros(server, admin):
    made = server.new_token("idle", rate_limit=77, wait=False)

    stats = ask(admin, f"/v1/api-keys/{made['id']}/stats")

    assert stats["key_id"] == made["id"]
    assert stats["requests_total"] == stats["requests_this_hour"] == 0
    assert stats["success_rate_bp"] is None and stats["last_used_at"] is None
    assert stats["rate_limit"] == stats["remaining_this_hour"] == 77


def test_statistics_tell_what_is_left_of_the_hour(server, admin, new_api):
    api = new_api(rate_limit=50)
    busy(api, 3)

    stats = wait_until(lambda: (s := ask(admin, f"/v1/api-keys/{api.token_id}/stats"))
                       ["requests_today"] >= 12 and s, 4, "12 requests")
    assert stats["remaining_this_hour"] == 50 - stats["requests_this_hour"]


def test_statistics_of_unknown_keys_are_404(admin):
    assert_problem(admin.get(f"/v1/api-keys/{ABSENT}/stats"), 404, "not_found")
    assert_problem(admin.get("/v1/api-keys/nobody/stats"), 400, "invalid_parameter")


def test_time_series_hold_every_bucket_in_order(admin):
    got = ask(admin, "/v1/usage/timeseries", bucket="minute",
              **{"from": moment(-90 * 60), "to": moment()})

    at = [datetime.datetime.fromisoformat(p["at"].replace("Z", "+00:00")) for p in got["data"]]
    assert len(at) in (91, 92)
    assert all(b - a == datetime.timedelta(minutes=1) for a, b in zip(at, at[1:]))
    assert got["data"][0]["at"] == got["from"]
    assert got["data"][0]["requests"] == 0 and got["data"][0]["average_us"] is None


def test_defaults_of_the_ranges(admin):
    assert len(ask(admin, "/v1/usage/timeseries", bucket="minute")["data"]) == 61
    assert len(ask(admin, "/v1/usage/timeseries")["data"]) == 25
    assert len(ask(admin, "/v1/usage/timeseries", bucket="day")["data"]) == 31
    assert ask(admin, "/v1/usage/routes")["bucket"] == "hour"


@pytest.mark.parametrize("path", ["timeseries", "routes", "countries"])
@pytest.mark.parametrize("edge", ["0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999Z"])
def test_ranges_at_the_ends_of_time_are_answered(admin, path, edge):
    for given in ({"to": edge}, {"from": edge}, {"from": edge, "to": edge}):
        reply = admin.get(f"/v1/usage/{path}", params={"bucket": "day", **given}
                          if path == "timeseries" else given)
        assert reply.status_code in (200, 400), reply.text
        if path != "timeseries" and "0000" in edge:
            assert reply.status_code == 200, reply.text


def test_series_of_what_is_no_longer_kept_are_refused(admin):
    span = {"from": moment(-8 * 86400), "to": moment(-8 * 86400 + 600)}

    problem = admin.get("/v1/usage/timeseries", params={"bucket": "minute", **span})

    assert_problem(problem, 400, "invalid_parameter", ["from"])
    assert sum(p["requests"] for p in ask(admin, "/v1/usage/timeseries", **span)["data"]) == 0


def test_too_many_buckets_are_refused(admin):
    span = {"from": moment(-1500 * 60), "to": moment()}

    assert_problem(admin.get("/v1/usage/timeseries", params={"bucket": "minute", **span}), 400,
                   "invalid_parameter")
    assert len(ask(admin, "/v1/usage/timeseries", bucket="hour", **span)["data"]) <= 27


def test_time_series_by_route_and_class(admin, new_api):
    api = new_api()
    busy(api, 4)
    wait_log(admin, 15, key_id=api.token_id)

    def total(**params):
        data = ask(admin, "/v1/usage/timeseries", key_id=api.token_id, **params)["data"]
        return sum(p["requests"] for p in data)
    wait_until(lambda: total(route="POST /v1/tickets") == 8, 4, "8 creates")
    assert total(route="/v1/tickets") == 9
    assert total(route="/v1/tickets", status_class="4xx") == 4
    assert total(route="POST /v1/tickets", status_class="2xx") == 4
    assert total(status_class="5xx") == 0
    assert total(route="/v1/nothing") == 0
    everyone = ask(admin, "/v1/usage/timeseries", route="POST /v1/tickets")["data"]
    assert sum(p["requests"] for p in everyone) >= 8


def test_limited_requests_are_counted_as_such(server, admin):
    made = server.new_token(rate_limit=2, wait=False)
    api = Api(server, made["token"], made["id"])

    def limited_stats():
        api.get(V0)                     # again, for when an hour begins meanwhile
        s = ask(admin, f"/v1/api-keys/{made['id']}/stats")
        return s["rate_limited_today"] and not s["remaining_this_hour"] and s
    stats = wait_until(limited_stats, 6, "a limited request")
    assert stats["requests_this_hour"] == 2
    data = ask(admin, "/v1/usage/timeseries", key_id=made["id"])["data"]
    assert sum(p["rate_limited"] for p in data) >= 1
    limited = log(admin, key_id=made["id"], status=429)
    assert limited and all(r["error"] == "rate_limit_exceeded" for r in limited)
    data = ask(admin, "/v1/usage/timeseries", key_id=made["id"], status_class="4xx")["data"]
    assert sum(p["requests"] for p in data) >= 1


# --- the log -------------------------------------------------------------------------------------


def test_the_log_shows_a_request_as_it_was(admin, new_api):
    api = new_api()
    api.post("/v1/tickets", {"title": "seen", "metadata": {"password": "hunter2"}},
             headers={"User-Agent": "probe/2"})

    row = wait_log(admin, 1, key_id=api.token_id, method="POST")[0]

    assert list(row) == COLUMNS
    assert row["route"] == "/v1/tickets" and row["status"] == 201
    assert row["key_id"] == api.token_id and row["user_agent"] == "probe/2"
    assert row["ip"] == "127.0.0.1" and row["country"] is None and row["error"] is None
    assert "hunter2" not in row["request_payload"]
    assert isinstance(row["id"], str) and row["id"].isdigit()


def test_the_last_100_come_first_and_pages_join(admin, new_api):
    api = new_api()
    api.post("/v1/tickets/bulk", {"tickets": [{"title": "x"}]})
    for _ in range(129):
        api.get(V0)
    wait_log(admin, 131, key_id=api.token_id, limit=200)

    page = ask(admin, "/v1/usage/requests", key_id=api.token_id)
    every = log(admin, key_id=api.token_id, limit=7)

    assert len(page["data"]) == 100 and page["next_cursor"]
    assert len(every) == 131 and len({r["id"] for r in every}) == 131
    assert every[:100] == page["data"]
    order = [(r["created_at"], int(r["id"])) for r in every]
    assert order == sorted(order, reverse=True)


def test_a_cursor_belongs_to_its_filters(admin, new_api):
    api = new_api()
    busy(api, 2)
    wait_log(admin, 9, key_id=api.token_id)
    cursor = ask(admin, "/v1/usage/requests", key_id=api.token_id, limit=2)["next_cursor"]

    reply = admin.get("/v1/usage/requests", params={"cursor": cursor, "limit": 2})

    assert_problem(reply, 400, "invalid_parameter")


def test_filters_of_the_log(admin, new_api):
    api = new_api()
    busy(api, 3)
    rows = wait_log(admin, 12, key_id=api.token_id)

    def ids(found):
        return [r["id"] for r in found]

    def select(**params):
        return ids(log(admin, key_id=api.token_id, **params))
    assert select(status=422) == ids(r for r in rows if r["status"] == 422) != []
    assert select(status_class="4xx") == ids(r for r in rows if 400 <= r["status"] < 500)
    assert select(method="POST") == ids(r for r in rows if r["method"] == "POST")
    assert select(route="/v1/tickets") == ids(r for r in rows if r["route"] == "/v1/tickets")
    assert select(route="GET /v1/tickets/{ticket_id}") == ids(
        r for r in rows if r["route"] == "/v1/tickets/{ticket_id}" and r["method"] == "GET")
    assert select(ip="127.0.0.1") == select(ip="::ffff:127.0.0.1") == ids(rows)
    assert select(ip="192.0.2.1") == select(country="DE") == []
    middle = rows[5]["created_at"]
    assert select(**{"from": middle}) == ids(r for r in rows if r["created_at"] >= middle)
    assert select(to=middle) == ids(r for r in rows if r["created_at"] < middle)
    assert log(admin, key_id=ABSENT) == []


# --- files ---------------------------------------------------------------------------------------


def export(admin, **params):
    reply = admin.get("/v1/usage/requests/export", params=params)
    assert reply.status_code == 200, reply.text
    return reply


def test_csv_and_ndjson_hold_what_the_log_shows(admin, new_api):
    api = new_api()
    busy(api, 3)
    api.create_v1('a "quoted", text\nwith lines', metadata={"\u00e4": "\U0001F600"})
    rows = wait_log(admin, 13, key_id=api.token_id)

    lines = export(admin, format="ndjson", key_id=api.token_id)
    sheet = export(admin, key_id=api.token_id)

    assert lines.headers["Content-Type"] == "application/x-ndjson"
    assert [json.loads(line) for line in lines.content.decode().splitlines()] == rows
    assert sheet.headers["Content-Type"] == "text/csv; charset=utf-8"
    assert 'attachment; filename="usage-requests.csv"' == sheet.headers["Content-Disposition"]
    assert sheet.content.endswith(b"\r\n")
    table = list(csv.reader(io.StringIO(sheet.content.decode(), newline="")))
    assert table[0] == COLUMNS
    for got, row in zip(table[1:], rows, strict=True):
        assert got == ["" if row[c] is None else str(row[c]) for c in COLUMNS]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|'/c calc'!A1,\"x\""])
def test_a_spreadsheet_runs_nothing_of_the_export(admin, new_api, text):
    api = new_api()
    api.get(V0, headers={"User-Agent": text})
    wait_until(lambda: [r for r in log(admin, key_id=api.token_id) if r["user_agent"] == text], 4,
               "the row")

    sheet = export(admin, key_id=api.token_id)

    table = list(csv.DictReader(io.StringIO(sheet.content.decode(), newline="")))
    assert table[0]["user_agent"] == "'" + text


def test_an_export_of_nothing_is_a_header(admin):
    assert export(admin, key_id=ABSENT).text == ",".join(COLUMNS) + "\r\n"
    assert export(admin, key_id=ABSENT, format="ndjson").text == ""


# --- countries -----------------------------------------------------------------------------------


@pytest.fixture
def abroad(start_server, tmp_path):
    """A server behind a proxy, with a database of countries; and its admin."""
    path = tmp_path / "country.mmdb"
    mmdb.write(path, {"192.0.2.0/24": "DE", "198.51.100.128/25": "FR", "2001:db8::/32": "JP"})
    server = start_server(env={"TESSERA_GEO_DATABASE": str(path),
                               "TESSERA_TRUSTED_PROXIES": "127.0.0.1"})
    server.countries = path
    return server, admin_of(server)


def visit(api, *addresses):
    for address in addresses:
        api.get("/v1/tickets", headers={"X-Forwarded-For": address})


def test_requests_are_counted_by_country(abroad):
    server, admin = abroad
    made = server.new_token()
    api = Api(server, made["token"], made["id"])
    visit(api, "192.0.2.7", "192.0.2.8", "198.51.100.129", "198.51.100.1", "2001:db8::1")
    api.post("/v1/tickets", {"title": "t"}, headers={"X-Forwarded-For": "192.0.2.9"})
    api.post("/v1/tickets", {}, headers={"X-Forwarded-For": "192.0.2.9"})

    def counted():
        got = ask(admin, "/v1/usage/countries")
        known = {c["country"]: (c["requests"], c["errors"]) for c in got["data"]}
        return known.get("DE", (0,))[0] >= 4 and got
    got = wait_until(counted, 5, "four requests from Germany")

    known = {c["country"]: (c["requests"], c["errors"]) for c in got["data"]}
    assert got["is_configured"] is True
    assert (known["DE"], known["FR"], known["JP"]) == ((4, 1), (1, 0), (1, 0))
    assert known[None][0] >= 1
    rows = log(admin, key_id=made["id"], country="de")
    assert [r["country"] for r in rows] == ["DE"] * 4
    assert {r["ip"] for r in rows} == {"192.0.2.7", "192.0.2.8", "192.0.2.9"}
    assert ask(admin, "/v1/usage/countries", **{"from": moment(-60 * 86400)})["bucket"] == "day"


def test_countries_survive_a_hard_kill(abroad):
    server, admin = abroad
    made = server.new_token()
    api = Api(server, made["token"], made["id"])
    for _ in range(5):
        api.post("/v1/tickets", {"title": "t"}, headers={"X-Forwarded-For": "2001:db8::9"})
    server.kill9()
    server.start()
    admin = Api(server, admin.token)

    def japan():
        return {c["country"]: c["requests"]
                for c in ask(admin, "/v1/usage/countries")["data"]}.get("JP")
    wait_until(lambda: japan() == 5, 5, "five from Japan")
    assert len(log(admin, country="JP")) == 5


def test_a_new_file_is_read_on_sighup(abroad):
    server, admin = abroad
    fresh = server.countries.with_suffix(".new")
    mmdb.write(fresh, {"192.0.2.0/24": "AT"})
    os.replace(fresh, server.countries)
    server.hangup()
    made = server.new_token()
    api = Api(server, made["token"], made["id"])

    def austrian():
        visit(api, "192.0.2.1")
        return log(admin, country="AT")
    wait_until(austrian, 5, "the new file is used", 0.1)


def test_a_missing_file_stops_the_start(make_server):
    server = make_server(env={"TESSERA_GEO_DATABASE": "/nowhere/c.mmdb"}, start=False)
    try:
        done = server.run("serve", timeout_s=10)
        assert done.returncode != 0
        assert "geo_database" in done.stdout + done.stderr
    finally:
        server.close()


def test_without_a_file_countries_are_unknown(admin):
    got = ask(admin, "/v1/usage/countries")

    assert got["is_configured"] is False
    assert {c["country"] for c in got["data"]} <= {None}


# --- what is old ---------------------------------------------------------------------------------


def test_days_beyond_their_time_become_months_and_no_figure_moves(fresh_server):
    """The days of a month and a half, 400 to 445 days ago, some with errors."""
    server = fresh_server
    admin = admin_of(server)
    team = truth.value(server, "SELECT team_id FROM integration_tokens")
    day = 86400 * 1000
    today = int(time.time() * 1000) // day * day
    counts = [f"b{i:02}" for i in range(40)]
    for ago in range(395, 445):
        for kind, n in ((2, ago % 5 + 1), (5, 1)):
            for key, route in (("k1", "GET /v1/tickets"), ("*", "*")):
                truth.execute(server, f"INSERT INTO usage_rollup (team_id, grain, bucket_ms, "
                              f"token_id, route, class, n, sum_us, {', '.join(counts)}) VALUES "
                              f"(?, 'd', ?, ?, ?, ?, ?, ?, {', '.join('?' * 40)})", team,
                              today - ago * day, key, route, kind, n, 1000 * n, *[0] * 20, n,
                              *[0] * 19)

    def months(**more):
        found = ask(admin, "/v1/usage/timeseries", bucket="month", **{"from": moment(-800 * 86400)},
                    to=moment(-300 * 86400), **more)
        assert all(p["at"].endswith("-01T00:00:00.000Z") for p in found["data"])
        return found["data"]

    before = months(), months(status_class="5xx")
    assert sum(p["errors"] for p in before[0]) == sum(p["requests"] for p in before[1]) == 50
    run_now(server, "usage.keep")
    wait_until(lambda: truth.value(server, "SELECT count(*) FROM usage_rollup WHERE grain = 'M'"),
               10, "days become months")
    wait_rest(server)

    assert (months(), months(status_class="5xx")) == before
    assert truth.value(server, "SELECT MIN(bucket_ms) FROM usage_rollup WHERE grain = 'd'") >= (
        today - 400 * day)

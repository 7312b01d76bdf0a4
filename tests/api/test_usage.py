"""Usage: a row for every request, redacted payloads, rollups and statistics that agree."""

import json
import threading
import time

from harness import truth
from harness.client import Api
from harness.server import V0
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
SECRETS = {"password": "hunter2", "Api_Key": "key-4711", "authorization": "Bearer abc",
           "nested": [{"token": "tok-0815", "client_secret": "cs-99"}], "plain": "visible"}


def by_call(rows):
    return {(r["method"], r["endpoint"], r["status_code"]): r for r in rows}


def test_every_request_of_a_token_has_a_row(new_api):
    api = new_api()                                                     # spends one GET of the root
    ticket = api.create_v0()
    api.get(f"{V0}/tickets/{ticket['id']}")
    api.get(f"{V0}/tickets/{ABSENT}")
    api.post(f"{V0}/tickets", {})
    api.patch(f"{V0}/tickets/{ticket['id']}/status", {"status": "closed"})
    api.get("/v1/tickets", params={"limit": 5})
    api.delete(f"/v1/tickets/{ticket['id']}")
    api.get(V0 + "/nothing")

    rows = truth.wait_usage(api.server, api.token_id, 9)

    assert len(rows) == 9
    calls = by_call(rows)
    one = f"{V0}/tickets/{{ticket_id}}"
    wanted = {("POST", f"{V0}/tickets", 201), ("GET", one, 200), ("GET", one, 404),
              ("POST", f"{V0}/tickets", 400), ("PATCH", one + "/status", 200),
              ("GET", "/v1/tickets", 200), ("DELETE", "/v1/tickets/{ticket_id}", 204)}
    assert wanted <= set(calls), set(calls)
    assert sum(r["status_code"] == 404 for r in rows) == 2
    assert "not_found" in calls["GET", one, 404]["error_message"]
    assert calls["POST", f"{V0}/tickets", 201]["error_message"] is None


def test_a_row_says_who_when_and_how_long(new_api):
    api = new_api()
    before = int(time.time() * 1000)
    api.get(V0, headers={"User-Agent": "probe/1.0 (\u00e4)".encode("utf-8")})
    after = int(time.time() * 1000)

    row = truth.wait_usage(api.server, api.token_id, 2)[-1]

    assert before - 1000 <= row["created_ms"] <= after + 1000
    assert 0 <= row["response_time_us"] < 10_000_000
    assert row["ip_address"] == "127.0.0.1"
    assert row["user_agent"].startswith("probe/1.0")


def test_a_very_long_user_agent_is_cut(new_api):
    api = new_api()
    api.get(V0, headers={"User-Agent": "a" * 4000})

    assert 100 <= len(truth.wait_usage(api.server, api.token_id, 2)[-1]["user_agent"]) <= 512


def test_a_write_has_its_row_the_moment_it_is_answered(new_api):
    api = new_api()
    for i in range(10):
        api.create_v0()
        rows = truth.usage_rows(api.server, api.token_id)
        assert sum(r["status_code"] == 201 for r in rows) == i + 1


def test_limited_requests_have_rows(server):
    made = server.new_token(rate_limit=2, wait=False)
    api = Api(server, made["token"], made["id"])
    wait_until(lambda: api.get(V0).status_code == 429, 3, "the limit bites")

    rows = wait_until(lambda: [r for r in truth.usage_rows(server, made["id"])
                               if r["status_code"] == 429], 2, "the row of the 429")
    assert rows[0]["error_message"] and "rate_limit_exceeded" in rows[0]["error_message"]


def test_requests_without_a_valid_token_have_rows(server, anonymous):
    agent = f"nobody-{time.time_ns()}"
    anonymous.get(V0, headers={"User-Agent": agent})
    Api(server, "stk_" + "q" * 43).get("/v1/tickets", headers={"User-Agent": agent})

    def mine():
        found = [r for r in truth.usage_rows(server, None) if r["user_agent"] == agent]
        return len(found) >= 2 and found
    rows = wait_until(mine, 2, "rows without a token")
    assert [r["status_code"] for r in rows] == [401, 401]
    assert "missing_token" in rows[0]["error_message"]
    assert "invalid_token" in rows[1]["error_message"]


def test_a_disabled_tokens_refusals_are_logged_under_its_name(server, new_api):
    api = new_api()
    server.cli("token", "disable", api.token_id)
    server.wait_token(api.token, {401})

    wait_until(lambda: [r for r in truth.usage_rows(server, api.token_id)
                        if r["status_code"] == 401], 2, "the 401 under the token")


# --- payloads ------------------------------------------------------------------------------------


def payload(api, count=2):
    return truth.wait_usage(api.server, api.token_id, count)[-1]["request_payload"]


def test_the_payload_of_a_write_is_kept(new_api):
    api = new_api()
    api.create_v0("kept", priority="low")

    assert json.loads(payload(api)) == {"title": "kept", "priority": "low"}


def test_secrets_in_a_payload_are_masked_at_any_depth(new_api):
    api = new_api()
    api.create_v0("t", metadata=SECRETS)

    text = payload(api)

    for secret in ("hunter2", "key-4711", "Bearer abc", "tok-0815", "cs-99"):
        assert secret not in text
    kept = json.loads(text)["metadata"]
    assert kept["plain"] == "visible" and kept["password"] == "***"


def test_the_ticket_itself_keeps_what_the_log_masks(new_api):
    api = new_api()

    assert api.get_v0(api.create_v0(metadata=SECRETS)["id"])["metadata"] == SECRETS


def test_a_payload_is_capped_at_4_kib(new_api):
    api = new_api()
    api.create_v0(description="\u00e4\U0001F600" * 20000)

    text = payload(api)

    assert len(text.encode()) <= 4096
    assert len(text.encode()) > 1000


def test_reads_have_no_payload(new_api):
    api = new_api()
    api.get(V0)

    assert payload(api) is None


def test_payloads_can_be_switched_off(start_server):
    server = start_server(env={"TESSERA_USAGE_PAYLOAD": "false"})
    made = server.new_token()
    api = Api(server, made["token"], made["id"])
    api.create_v0("private")

    assert payload(api) is None


# --- statistics ----------------------------------------------------------------------------------


def rollup(server, token_id, grain="d"):
    """{(route, class): (n, sum_us)} over all buckets of a grain."""
    found = truth.rows(server, "SELECT route, class, SUM(n), SUM(sum_us) FROM usage_rollup "
                               "WHERE token_id = ? AND grain = ? GROUP BY route, class",
                       token_id, grain)
    return {(route, int(kind)): (int(n), int(us)) for route, kind, n, us in found}


def from_rows(rows):
    """The same, computed from the detail rows."""
    out = {}
    for r in rows:
        status = r["status_code"]
        key = (f"{r['method']} {r['endpoint']}", 429 if status == 429 else status // 100)
        n, us = out.get(key, (0, 0))
        out[key] = (n + 1, us + r["response_time_us"])
    return out


def busy(api, n=12):
    """A mix of answers."""
    for i in range(n):
        ticket = api.create_v0(f"busy {i}")
        api.get(f"{V0}/tickets/{ticket['id']}")
        api.post(f"{V0}/tickets", {"title": ""})


def test_rollups_of_every_grain_agree_with_the_rows(new_api):
    api = new_api()
    busy(api)
    rows = truth.wait_usage(api.server, api.token_id, 37)

    for grain in ("m", "h", "d"):
        wait_until(lambda g=grain: rollup(api.server, api.token_id, g) == from_rows(rows), 4,
                   f"rollup {grain} equals the rows")


def test_histograms_hold_every_request(new_api):
    api = new_api()
    busy(api, 5)
    columns = " + ".join(f"SUM(b{i:02d})" for i in range(40))

    wait_until(lambda: truth.rows(api.server, f"SELECT SUM(n), {columns} FROM usage_rollup "
                                              "WHERE token_id = ? AND grain = 'm'",
                                  api.token_id) == [(16, 16)], 4, "all 16 are in the histogram")


def test_the_views_show_the_token(new_api):
    api = new_api(name="viewed")
    busy(api, 3)

    total = wait_until(lambda: truth.rows(
        api.server, "SELECT name, total_requests, error_count FROM integration_token_stats "
                    "WHERE token_id = ? AND total_requests >= 10", api.token_id), 4, "the view")
    assert [(n, int(t), int(e)) for n, t, e in total] == [("viewed", 10, 3)]
    recent = truth.rows(api.server, "SELECT token_name, method, status_code "
                                    "FROM recent_token_usage WHERE token_id = ?", api.token_id)
    assert len(recent) == 10 and {r[0] for r in recent} == {"viewed"}


def test_stats_of_a_token_on_the_command_line(server, new_api):
    api = new_api(rate_limit=500)
    busy(api, 4)

    def counted():
        got = server.cli_json("stats", "--token", api.token_id)
        return got["requests_total"] >= 13 and got
    stats = wait_until(counted, 4, "13 requests in the statistics")

    assert stats["requests_total"] == stats["requests_today"] == 13
    assert stats["requests_this_hour"] in range(1, 14)
    assert stats["errors_today"] == 4
    assert stats["rate_limit"] == 500
    assert 0 < stats["p50_us"] <= stats["p95_us"] <= stats["p99_us"]
    assert stats["average_us"] > 0


def test_the_dashboard_on_the_command_line_covers_all_tokens(server, new_api):
    before = server.cli_json("stats")
    api, second = new_api(), new_api()
    busy(api, 3)
    second.get(V0)

    wait_until(lambda: server.cli_json("stats")["requests_today"]
               >= before["requests_today"] + 12, 4, "the new requests")
    after = server.cli_json("stats")
    assert after["active_tokens"] == before["active_tokens"] + 2
    assert after["errors_today"] >= before["errors_today"] + 3


def test_statistics_are_right_after_a_hard_kill(fresh_server):
    made = fresh_server.new_token()
    api = Api(fresh_server, made["token"], made["id"])
    busy(api, 20)
    fresh_server.kill9()
    fresh_server.start()

    rows = truth.usage_rows(fresh_server, made["id"])

    assert sum(r["status_code"] == 201 for r in rows) == 20
    wait_until(lambda: rollup(fresh_server, made["id"]) == from_rows(rows), 4,
               "rows that the kill left out are folded in")


def test_statistics_are_complete_after_a_stop(fresh_server):
    made = fresh_server.new_token()
    api = Api(fresh_server, made["token"], made["id"])
    busy(api, 10)
    fresh_server.stop()

    rows = truth.usage_rows(fresh_server, made["id"])

    assert len(rows) == 31
    assert rollup(fresh_server, made["id"]) == from_rows(rows)


def test_many_threads_lose_no_row(new_api):
    api = new_api()
    threads = [threading.Thread(target=lambda: [Api(api.server, api.token).get(V0)
                                                for _ in range(25)]) for _ in range(8)]
    for t in threads:
        t.start()
    for t in threads:
        t.join(60)

    assert len(truth.wait_usage(api.server, api.token_id, 201)) == 201

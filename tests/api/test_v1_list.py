"""/v1/tickets as a list: filters, text search, sort, and paging by an opaque cursor."""

import re

import pytest
from harness.client import Api, assert_problem
from harness.wait import wait_until

ROWS = [
    # title, priority, category, status
    ("Printer on fire", "urgent", "Hardware", "open"),
    ("Printer jam", "low", "Hardware", "waiting"),
    ("Login fails", "high", "Access", "in_progress"),
    ("LOGIN page slow", "medium", "Access", "closed"),
    ("Invoice 100% wrong", "medium", "Billing", "resolved"),
    ("caf\u00e9 menu", "low", None, "open"),
]


@pytest.fixture(scope="module")
def stocked(common_server):
    """A token that owns exactly ROWS."""
    made = common_server.new_token("stocked")
    api = Api(common_server, made["token"], made["id"])
    for title, priority, category, status in ROWS:
        fields = {"category": category} if category else {}
        ticket = api.create_v1(title, priority=priority, **fields)
        if status != "open":
            api.patch(f"/v1/tickets/{ticket['id']}", {"status": status})
    return api


def titles(page):
    return {t["title"] for t in page["data"]}


def test_list_has_data_and_next_cursor(stocked):
    page = stocked.list_v1()

    assert {"data", "next_cursor"} <= set(page)
    assert titles(page) == {row[0] for row in ROWS}
    assert page["next_cursor"] is None
    first = page["data"][0]
    assert first == stocked.get(f"/v1/tickets/{first['id']}").json()


@pytest.mark.parametrize("params,wanted", [
    ({"status": "open"}, {"Printer on fire", "caf\u00e9 menu"}),
    ({"status": "open,waiting"}, {"Printer on fire", "caf\u00e9 menu", "Printer jam"}),
    ({"priority": "urgent"}, {"Printer on fire"}),
    ({"priority": "low,high"}, {"Printer jam", "caf\u00e9 menu", "Login fails"}),
    ({"category": "Access"}, {"Login fails", "LOGIN page slow"}),
    ({"category": "Nothing"}, set()),
    ({"category": "Hardware", "status": "open"}, {"Printer on fire"}),
    ({"q": "printer"}, {"Printer on fire", "Printer jam"}),
    ({"q": "login"}, {"Login fails", "LOGIN page slow"}),
    ({"q": "caf\u00e9"}, {"caf\u00e9 menu"}),
    ({"q": "100%"}, {"Invoice 100% wrong"}),
    ({"q": "nothing-like-it"}, set()),
    ({"q": "printer", "priority": "low"}, {"Printer jam"}),
])
def test_filters_select(stocked, params, wanted):
    assert titles(stocked.list_v1(**params)) == wanted


@pytest.mark.parametrize("q", ["%", "_", "'", "\"", "\\", "*", "a OR", "NEAR(", "(", "-x", ":"])
def test_search_takes_any_characters_as_text(stocked, q):
    wanted = {row[0] for row in ROWS if q.lower() in row[0].lower()}

    assert titles(stocked.list_v1(q=q)) == wanted


def test_search_finds_words_of_the_description(new_api):
    api = new_api()
    api.create_v1("first", description="the zebrawood table")
    api.create_v1("second", description="nothing")

    assert titles(api.list_v1(q="zebrawood")) == {"first"}


def test_time_ranges_select(new_api):
    api = new_api()
    early = api.create_v1("early")
    wait_until(lambda: api.create_v1("between")["created_at"] > early["created_at"], 2, "a tick")
    late = None

    def later():
        nonlocal late
        late = api.create_v1("late")
        newest = max(t["created_at"] for t in api.list_v1(q="between")["data"])
        return late["created_at"] > newest
    wait_until(later, 2, "another tick")

    after = api.list_v1(created_after=early["created_at"])
    before = api.list_v1(created_before=late["created_at"])

    assert late["id"] in {t["id"] for t in after["data"]}
    assert early["id"] in {t["id"] for t in before["data"]}
    assert titles(api.list_v1(created_after=early["created_at"],
                              created_before=late["created_at"])) >= {"between"}
    far = "2199-01-01T00:00:00Z"
    assert api.list_v1(created_after=far)["data"] == []
    assert api.list_v1(updated_after=far)["data"] == []
    assert len(api.list_v1(updated_before=far)["data"]) == len(api.list_v1()["data"])
    assert api.list_v1(updated_before="2000-01-01T00:00:00Z")["data"] == []


@pytest.mark.parametrize("params", [
    {"status": "nonsense"}, {"status": "open,nonsense"}, {"priority": "HIGH"},
    {"created_after": "yesterday"}, {"created_before": "2024-13-01T00:00:00Z"},
    {"updated_after": "1"}, {"limit": "0"}, {"limit": "201"}, {"limit": "-1"}, {"limit": "x"},
    {"limit": "1.5"}, {"sort": "nonsense"}, {"sort": "--created_at"}, {"cursor": "nonsense"},
    {"stat": "open"}, {"order": "asc"},
])
def test_wrong_parameters_are_refused_by_name(stocked, params):
    reply = stocked.get("/v1/tickets", params=params)

    assert_problem(reply, 400, "invalid_parameter")
    assert next(iter(params)) in reply.text


def test_a_repeated_parameter_is_refused(stocked):
    reply = stocked.get("/v1/tickets?status=open&status=closed")

    assert_problem(reply, 400, "invalid_parameter")


@pytest.mark.parametrize("sort", ["created_at", "-created_at", "updated_at", "-updated_at"])
def test_sort_orders_by_time(stocked, sort):
    key = sort.lstrip("-")

    got = [t[key] for t in stocked.list_v1(sort=sort)["data"]]

    assert len(got) == len(ROWS)
    assert got == sorted(got, reverse=sort.startswith("-"))


def test_newest_is_first_by_default(stocked):
    got = [t["created_at"] for t in stocked.list_v1()["data"]]

    assert got == sorted(got, reverse=True)


def test_default_page_is_50_and_pages_join_without_gap_or_repeat(new_api):
    api = new_api()
    api.post("/v1/tickets/bulk", {"tickets": [{"title": f"t{i}"} for i in range(120)]})

    first = api.list_v1()

    assert len(first["data"]) == 50 and first["next_cursor"]
    for sort in ("created_at", "-created_at", "-updated_at"):
        every = [t["id"] for t in api.list_all_v1(limit=33, sort=sort)]
        assert len(every) == len(set(every)) == 120
    assert len(api.list_v1(limit=200)["data"]) == 120


def test_pages_survive_inserts_and_deletes_between_them(new_api):
    api = new_api()
    api.post("/v1/tickets/bulk", {"tickets": [{"title": f"old{i}"} for i in range(30)]})
    old = {t["id"] for t in api.list_all_v1()}

    first = api.list_v1(limit=10)
    api.post("/v1/tickets/bulk", {"tickets": [{"title": f"new{i}"} for i in range(15)]})
    api.delete(f"/v1/tickets/{first['data'][-1]['id']}")
    seen, cursor = [t["id"] for t in first["data"]], first["next_cursor"]
    while cursor:
        page = api.list_v1(limit=10, cursor=cursor)
        seen += [t["id"] for t in page["data"]]
        cursor = page["next_cursor"]

    assert len(seen) == len(set(seen))
    assert old <= set(seen)


def test_count_adds_the_total_of_the_filter(stocked):
    assert stocked.list_v1(count="true")["total"] == len(ROWS)
    assert stocked.list_v1(count="true", status="open", limit=1)["total"] == 2


def test_next_page_is_also_a_link_header(new_api):
    api = new_api()
    api.post("/v1/tickets/bulk", {"tickets": [{"title": f"t{i}"} for i in range(3)]})

    reply = api.get("/v1/tickets", params={"limit": 2, "priority": "medium"})

    match = re.fullmatch(r'<([^>]+)>; rel="?next"?', reply.headers["Link"])
    path = re.sub(r"^https?://[^/]+", "", match.group(1))
    following = api.get(path)
    assert following.status_code == 200, following.text
    rest = [t["id"] for t in following.json()["data"]]
    assert len(rest) == 1 and rest[0] not in [t["id"] for t in reply.json()["data"]]
    assert "Link" not in following.headers


def test_a_tampered_cursor_is_refused(new_api):
    api = new_api()
    api.post("/v1/tickets/bulk", {"tickets": [{"title": f"t{i}"} for i in range(3)]})
    cursor = api.list_v1(limit=1)["next_cursor"]

    for at in (0, len(cursor) // 3, len(cursor) // 2, len(cursor) - 2):
        swapped = cursor[:at] + ("A" if cursor[at] != "A" else "B") + cursor[at + 1:]
        reply = api.get("/v1/tickets", params={"limit": 1, "cursor": swapped})
        assert_problem(reply, 400, "invalid_parameter")
    for wrong in (cursor[:-3], cursor + "AAAA", "", "A" * 5000):
        reply = api.get("/v1/tickets", params={"cursor": wrong})
        assert_problem(reply, 400, "invalid_parameter")


def test_a_cursor_of_another_list_is_refused_or_harmless(new_api):
    mine, theirs = new_api(), new_api()
    for api in (mine, theirs):
        api.post("/v1/tickets/bulk", {"tickets": [{"title": f"t{i}"} for i in range(3)]})
    cursor = theirs.list_v1(limit=1)["next_cursor"]

    reply = mine.get("/v1/tickets", params={"cursor": cursor, "limit": 200})

    owned = {t["id"] for t in mine.list_v1()["data"]}
    assert reply.status_code == 400 or {t["id"] for t in reply.json()["data"]} <= owned

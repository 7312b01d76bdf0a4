"""Merging contacts: what comes out, what follows, what is refused, and two merges at once."""

import threading
import uuid

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.tenants import Tenant

PATH = "/v1/contacts"
ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture(scope="module")
def team(common_server):
    return Tenant(common_server)


@pytest.fixture
def admin(server, team):
    return team.api


def create(api, name="Ann Example", **fields):
    reply = api.post(PATH, {"name": name, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def merge(api, target, *sources, **more):
    return api.post(f"{PATH}/{target['id']}/merge", {"from": [s["id"] for s in sources], **more})


def merged(reply):
    assert reply.status_code == 200, reply.text
    return reply.json()


def get(api, contact):
    return api.get(f"{PATH}/{contact['id']}")


def history(api, contact):
    reply = api.get(f"{PATH}/{contact['id']}/activity", params={"limit": 200})
    assert reply.status_code == 200, reply.text
    return [(a["contact_id"], a["action"], {c["field"]: (c["from"], c["to"]) for c in a["changes"]})
            for a in reply.json()["data"]]


def found(api, **params):
    reply = api.get(PATH, params={"limit": 200, **params})
    assert reply.status_code == 200, reply.text
    return [c["id"] for c in reply.json()["data"]]


def test_the_target_keeps_what_it_has_and_gets_what_it_lacks(admin):
    target = create(admin, "Ann", title="Dr.", emails=["ann@x.example"], tags=["a"],
                    metadata={"k": 1})
    one = create(admin, "Anne", company="Acme", title="Ms", emails=["ANN@x.example", "b@x.example"],
                 phones=["5551234"], tags=["A", "b"], metadata={"k": 2, "l": {"m": 1}})
    two = create(admin, "Anna", company="Other", phones=["5555678"], metadata={"l": 9, "n": 0})

    reply = merge(admin, target, one, two)

    now = merged(reply)
    assert (now["id"], now["name"], now["title"], now["company"]) == (target["id"], "Ann", "Dr.",
                                                                      "Acme")
    assert now["emails"] == ["ann@x.example", "b@x.example"]
    assert now["phones"] == ["5551234", "5555678"] and now["tags"] == ["a", "b"]
    assert now["metadata"] == {"k": 1, "l": {"m": 1}, "n": 0}
    assert now["version"] > target["version"]
    assert reply.headers["ETag"] == f'"v{now["version"]}"'
    assert get(admin, target).json() == now


def test_fields_have_the_last_word(admin):
    target, other = create(admin, "Ann", company="A"), create(admin, "Bob", emails=["b@x.example"])

    now = merged(merge(admin, target, other, fields={"name": "Ann Bob", "company": None,
                                                     "emails": [], "metadata": {"x": 1}}))

    assert (now["name"], now["company"], now["emails"], now["metadata"]) == ("Ann Bob", None, [],
                                                                            {"x": 1})


def test_a_merged_contact_leads_to_the_one_that_took_it_over(admin):
    a, b, c = (create(admin, n) for n in "abc")
    merged(merge(admin, b, a))
    now = merged(merge(admin, c, b))

    for old in (a, b):
        reply = get(admin, old)
        assert reply.json() == now
        assert reply.headers["Content-Location"] == f"{PATH}/{c['id']}"
        assert reply.headers["ETag"] == f'"v{now["version"]}"'
        assert_problem(admin.patch(f"{PATH}/{old['id']}", {"name": "x"}), 409, "conflict")
        assert_problem(admin.delete(f"{PATH}/{old['id']}"), 409, "conflict")
    assert "Content-Location" not in get(admin, c).headers
    admin.delete(f"{PATH}/{c['id']}")
    assert_problem(get(admin, a), 404)


def test_merging_keeps_the_history_of_all(admin):
    target, other = create(admin, "Ann"), create(admin, "Bob")
    admin.patch(f"{PATH}/{other['id']}", {"company": "B"})

    merged(merge(admin, target, other))

    told = history(admin, target)
    assert [(i, a) for i, a, _ in told] == [
        (target["id"], "merged"), (other["id"], "merged_into"), (other["id"], "updated"),
        (other["id"], "created"), (target["id"], "created")]
    assert told[0][2] == {"merged_from": (None, [other["id"]]), "company": (None, "B")}
    assert told[1][2] == {"merged_into": (None, target["id"])}
    assert told[2][2] == {"company": (None, "B")}
    assert history(admin, other) == told


def test_the_history_goes_page_by_page(admin):
    target, other = create(admin, "Ann"), create(admin, "Bob")
    merged(merge(admin, target, other))
    path, actions, cursor = f"{PATH}/{target['id']}/activity", [], None

    for _ in range(4):
        page = admin.get(path, params={"limit": 1, **({"cursor": cursor} if cursor else {})}).json()
        actions += [a["action"] for a in page["data"]]
        cursor = page["next_cursor"]

    assert actions == ["merged", "merged_into", "created", "created"] and cursor is None


def test_search_and_filters_find_the_target_by_what_it_got(server, admin):
    word = f"w{uuid.uuid4().hex}"
    target = create(admin, "Plain Name")
    other = create(admin, "Another", emails=[f"{word}@x.example"], tags=[word], company=word,
                   phones=["555321321"])

    merged(merge(admin, target, other))

    for params in ({"q": word}, {"email": f"{word}@x.example"}, {"tag": word}, {"company": word},
                   {"phone": "555321321"}):
        assert found(admin, **params) == [target["id"]], params
    for table in ("contact_term", "contact_email", "contact_phone", "contact_tag"):
        assert truth.value(server, f"SELECT count(*) FROM {table} WHERE contact_id = ?",
                           other["id"]) == 0


def test_tickets_and_watching_move_over(admin, team):
    target, one, two = (create(admin, n) for n in ("Ann", "Bob", "Cid"))
    by_key = team.api_with(["tickets:read", "tickets:write"])
    tickets = [by_key.create_v1("by a key", contact_id=one["id"]),
               admin.create_v1("by the admin", contact_id=two["id"])]
    free = admin.create_v1("of nobody")
    for who in (target, one):
        reply = admin.post(f"/v1/tickets/{free['id']}/watchers", {"kind": "contact",
                                                                  "id": who["id"]})
        assert reply.status_code == 201, reply.text
    writer = team.api_with(["contacts:write"])

    merged(merge(writer, target, one, two))

    for ticket in tickets:
        now = admin.get(f"/v1/tickets/{ticket['id']}").json()
        assert now["contact_id"] == target["id"] and now["version"] == ticket["version"] + 1
    assert admin.get(f"/v1/tickets/{free['id']}").json()["version"] == free["version"]
    watchers = admin.get(f"/v1/tickets/{free['id']}/watchers").json()["data"]
    assert [w["id"] for w in watchers] == [target["id"]]


def test_a_merge_is_audited(server):
    team = Tenant(server)
    target, other = create(team.api, "Ann"), create(team.api, "Bob")
    merged(merge(team.api, target, other))

    row = truth.rows(server, "SELECT target_id, before_json, after_json FROM audit_log WHERE "
                     "team_id = ? AND action = 'contact.merge'", team.id)

    assert len(row) == 1 and row[0][0] == target["id"]
    assert other["id"] in row[0][1] and target["id"] in row[0][2]


# --- refused --------------------------------------------------------------------------------------


def test_a_contact_is_merged_once(admin):
    one, two, other = (create(admin, n) for n in ("Ann", "Bob", "Cid"))
    merged(merge(admin, one, other))

    assert other["id"] in assert_problem(merge(admin, two, other), 409, "conflict")["detail"]
    assert_problem(merge(admin, other, two), 409, "conflict")
    assert get(admin, two).json() == two


@pytest.mark.parametrize("body", [
    {}, {"from": []}, {"from": "x"}, {"from": [5]}, {"from": ["x"]}, {"from": [ABSENT]},
    {"from": [ABSENT] * 21}])
def test_sources_that_are_none_are_named(admin, body):
    target = create(admin)

    assert_problem(admin.post(f"{PATH}/{target['id']}/merge", body), 422, fields=["from"])
    assert get(admin, target).json() == target


@pytest.mark.parametrize("fields,named", [
    ({"stranger": 1}, "fields.stranger"), ({"name": ""}, "fields.name"), ("x", "fields"),
    ({"name": None}, "fields.name"), ({"emails": ["bad"]}, "emails")])
def test_fields_that_make_no_sense_are_named(admin, fields, named):
    target, other = create(admin), create(admin)

    assert_problem(merge(admin, target, other, fields=fields), 422, fields=[named])
    assert get(admin, other).json() == other and get(admin, target).json() == target


def test_a_contact_does_not_go_into_itself(admin):
    target, other = create(admin), create(admin)

    upper = {**target, "id": target["id"].upper()}
    assert_problem(merge(admin, target, other, upper), 422, fields=["from"])
    assert get(admin, other).json() == other and get(admin, target).json() == target


def test_too_much_together_is_refused_unless_fields_say_what_remains(admin):
    target = create(admin, emails=[f"a{i}@x.example" for i in range(15)])
    other = create(admin, emails=[f"b{i}@x.example" for i in range(6)])

    assert_problem(merge(admin, target, other), 422, fields=["from"])
    assert get(admin, other).json() == other and get(admin, target).json() == target
    assert merged(merge(admin, target, other, fields={"emails": ["a0@x.example"]}))["emails"] == \
        ["a0@x.example"]


def test_the_same_source_twice_is_one(admin):
    target, other = create(admin), create(admin, emails=["o@x.example"])

    assert merged(merge(admin, target, other, other))["emails"] == ["o@x.example"]


# --- at once --------------------------------------------------------------------------------------


def at_once(api, calls):
    """The replies of [(target, source)] merges that start together."""
    replies, gate = [None] * len(calls), threading.Barrier(len(calls))

    def run(n):
        own = Api(api.server, api.token)
        gate.wait(10)
        replies[n] = merge(own, *calls[n])
    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(calls))]
    for t in threads:
        t.start()
    for t in threads:
        t.join(30)
    assert all(r is not None for r in replies)
    return replies


def test_two_merges_of_one_contact_at_once_give_one_winner(admin):
    for _ in range(5):
        a, b, source = create(admin, "A"), create(admin, "B"), create(admin, "S")

        replies = at_once(admin, [(a, source), (b, source)])

        assert sorted(r.status_code for r in replies) == [200, 409]
        winner = (a, b)[[r.status_code for r in replies].index(200)]
        assert get(admin, source).json()["id"] == winner["id"]


def test_two_contacts_merged_into_each_other_at_once_leave_one(admin):
    for _ in range(5):
        a, b = create(admin, "A"), create(admin, "B")

        replies = at_once(admin, [(a, b), (b, a)])

        assert sorted(r.status_code for r in replies) == [200, 409]
        assert get(admin, a).json() == get(admin, b).json()


def test_many_merges_into_one_contact_at_once_lose_nothing(admin):
    target = create(admin, "T")
    sources = [create(admin, f"S{i}", emails=[f"s{i}@x.example"]) for i in range(4)]
    left = list(sources)

    for _ in range(len(sources)):
        replies = at_once(admin, [(target, s) for s in left]) if left else []
        assert all(r.status_code in (200, 409) for r in replies)
        left = [s for s, r in zip(left, replies) if r.status_code == 409]

    assert left == []
    assert sorted(get(admin, target).json()["emails"]) == [f"s{i}@x.example" for i in range(4)]

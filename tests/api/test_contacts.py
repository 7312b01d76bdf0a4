"""Contacts: create, read, change, delete, bulk, history; who may, and what is refused."""

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


def made(reply):
    assert reply.status_code == 201, reply.text
    return reply.json()


def create(api, name="Ann Example", **fields):
    return made(api.post(PATH, {"name": name, **fields}))


def found(api, **params):
    """Ids over all pages."""
    ids, cursor = [], None
    for _ in range(200):
        reply = api.get(PATH, params={**params, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, reply.text
        ids += [c["id"] for c in reply.json()["data"]]
        cursor = reply.json()["next_cursor"]
        if not cursor:
            return ids
    raise AssertionError("paging does not end")


def history(api, contact_id):
    """[(contact, action, {field: (from, to)})], newest first."""
    reply = api.get(f"{PATH}/{contact_id}/activity", params={"limit": 200})
    assert reply.status_code == 200, reply.text
    return [(a["contact_id"], a["action"], {c["field"]: (c["from"], c["to"]) for c in a["changes"]})
            for a in reply.json()["data"]]


# --- create and read ------------------------------------------------------------------------------


def test_a_contact_comes_back_as_it_was_given(admin, team):
    given = {"name": "Zoë Müller", "company": "Acme GmbH", "title": "Head of Support",
             "emails": ["Zoe@Acme.example", "z@home.example"], "phones": ["+49 (30) 123-4567"],
             "tags": ["VIP", "beta"], "metadata": {"crm": {"id": 7, "score": 1.5}}}

    reply = admin.post(PATH, given)

    contact = made(reply)
    assert {k: contact[k] for k in given} == given
    assert contact["version"] == 1 and contact["created_by"] == team.key["id"]
    assert reply.headers["Location"] == f"{PATH}/{contact['id']}"
    assert reply.headers["ETag"] == '"v1"'
    read = admin.get(f"{PATH}/{contact['id'].upper()}")
    assert read.json() == contact and "Content-Location" not in read.headers


def test_only_the_name_is_required(admin):
    contact = create(admin, "x")

    assert [contact[k] for k in ("company", "title")] == [None, None]
    assert [contact[k] for k in ("emails", "phones", "tags")] == [[], [], []]
    assert contact["metadata"] == {}


def test_repeats_in_lists_are_dropped_and_spaces_trimmed(admin):
    contact = create(admin, emails=[" A@x.example ", "a@X.example", "b@x.example"],
                     phones=["+49 30 1234", "+49301234", "49301234"], tags=["Vip", "VIP", "ÄRGER",
                                                                            "ärger"])

    assert contact["emails"] == ["A@x.example", "b@x.example"]
    assert contact["phones"] == ["+49 30 1234", "49301234"]
    assert contact["tags"] == ["Vip", "ÄRGER"]


@pytest.mark.parametrize("body,field", [
    ({}, "name"), ({"name": " "}, "name"), ({"name": None}, "name"), ({"name": 5}, "name"),
    ({"name": "x" * 201}, "name"), ({"name": "a\nb"}, "name"),
    ({"name": "x", "company": "y" * 201}, "company"),
    ({"name": "x", "emails": "a@b.example"}, "emails"),
    ({"name": "x", "emails": ["nobody"]}, "emails"),
    ({"name": "x", "emails": ["a@b@c"]}, "emails"),
    ({"name": "x", "emails": ["a b@c.example"]}, "emails"),
    ({"name": "x", "emails": [f"a{i}@b.example" for i in range(21)]}, "emails"),
    ({"name": "x", "phones": ["call me"]}, "phones"),
    ({"name": "x", "phones": ["12"]}, "phones"),
    ({"name": "x", "phones": ["1" * 21]}, "phones"),
    ({"name": "x", "phones": ["1+234567"]}, "phones"),
    ({"name": "x", "phones": [f"555{i:04}" for i in range(21)]}, "phones"),
    ({"name": "x", "tags": [""]}, "tags"), ({"name": "x", "tags": ["t" * 65]}, "tags"),
    ({"name": "x", "metadata": []}, "metadata"),
    ({"name": "x", "metadata": {"big": "y" * 65536}}, "metadata"),
    ({"name": "x", "stranger": 1}, "stranger"), ({"name": "x", "id": ABSENT}, "id"),
    ({"name": "x", "terms": "y"}, "terms"),
])
def test_what_is_wrong_is_named(admin, body, field):
    assert_problem(admin.post(PATH, body), 422, fields=[field])


@pytest.mark.parametrize("method,path", [
    ("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "/merge"), ("GET", "/activity")])
def test_ids_that_are_not_there_are_404_and_others_400(admin, method, path):
    body = {"PATCH": {"name": "x"}, "POST": {"from": [str(uuid.uuid4())]}}.get(method)

    assert_problem(admin.request(method, f"{PATH}/{ABSENT}{path}", json=body), 404, "not_found")
    assert_problem(admin.request(method, f"{PATH}/nonsense{path}", json=body), 400,
                   "invalid_parameter", fields=["contact_id"])


def test_an_unchanged_contact_is_304(admin):
    contact = create(admin)

    reply = admin.get(f"{PATH}/{contact['id']}", headers={"If-None-Match": '"v1"'})

    assert reply.status_code == 304 and reply.text == ""


# --- who may --------------------------------------------------------------------------------------


def calls(contact_id):
    one = f"{PATH}/{contact_id}"
    return [("GET", PATH, None, "read"), ("GET", one, None, "read"),
            ("GET", one + "/activity", None, "read"), ("POST", PATH, {"name": "x"}, "write"),
            ("POST", PATH + "/bulk", {"contacts": [{"name": "x"}]}, "write"),
            ("PATCH", one, {"name": "y"}, "write"),
            ("POST", one + "/merge", {"from": [ABSENT]}, "write"), ("DELETE", one, None, "write")]


def test_each_call_needs_its_scope(team, admin):
    contact = create(admin)
    readers, writers = (team.api_with([f"contacts:{s}"]) for s in ("read", "write"))

    for method, path, body, scope in calls(contact["id"]):
        refused = (readers if scope == "write" else writers).request(method, path, json=body)
        assert "contacts:" + scope in assert_problem(refused, 403, "insufficient_scope")["detail"]
        allowed = (writers if scope == "write" else readers).request(method, path, json=body)
        assert allowed.status_code in (200, 201, 204, 422), f"{method} {path}: {allowed.text}"


def test_without_a_token_nothing_is_told(server, admin):
    contact, nobody = create(admin), Api(server)

    for method, path, body, _ in calls(contact["id"]):
        assert_problem(nobody.request(method, path, json=body), 401, "missing_token")


def test_another_teams_contact_is_404_everywhere(server, admin):
    stranger, contact = Tenant(server).api, create(admin, "Secret Person", tags=["t"],
                                                   emails=["s@secret.example"], phones=["5551234"],
                                                   company="Hidden Ltd")
    own = create(stranger)

    for method, path, body, _ in calls(contact["id"]):
        if contact["id"] in path:
            assert_problem(stranger.request(method, path, json=body), 404)
    for params in ({}, {"email": "s@secret.example"}, {"phone": "5551234"}, {"tag": "t"},
                   {"company": "Hidden Ltd"}, {"q": "secret"}, {"q": "s"}):
        assert contact["id"] not in found(stranger, **params), params
    assert_problem(stranger.post(f"{PATH}/{own['id']}/merge", {"from": [contact["id"]]}), 422,
                   fields=["from"])
    assert admin.get(f"{PATH}/{contact['id']}").json() == contact


@pytest.mark.only_backend("postgres")
def test_the_database_itself_hides_contacts_of_other_teams(server, team, admin):
    create(admin, "Hidden", tags=["x"], emails=["h@x.example"], phones=["5559999"])
    conn = server.database.connect()
    try:
        with conn.cursor() as cur:
            cur.execute("SELECT set_config('tessera.team', 'another', false), "
                        "set_config('tessera.token', '', false)")
            for table in ("contact", "contact_term", "contact_email", "contact_phone",
                          "contact_tag", "contact_activity"):
                cur.execute(f"SELECT count(*) FROM {table}")
                assert cur.fetchone()[0] == 0, table
    finally:
        conn.close()
    assert truth.value(server, "SELECT count(*) FROM contact WHERE team_id = ?", team.id) > 0


# --- change and delete ----------------------------------------------------------------------------


def test_a_patch_changes_what_it_names_and_tells_it(admin):
    contact = create(admin, company="Old", emails=["a@x.example"], metadata={"a": {"b": 1, "c": 2}})

    reply = admin.patch(f"{PATH}/{contact['id']}",
                        {"company": None, "title": "Dr.", "emails": ["b@x.example"],
                         "metadata": {"a": {"b": None}, "d": 3}}, headers={"If-Match": '"v1"'})

    assert reply.status_code == 200, reply.text
    now = reply.json()
    assert (now["name"], now["company"], now["title"]) == (contact["name"], None, "Dr.")
    assert now["emails"] == ["b@x.example"] and now["metadata"] == {"a": {"c": 2}, "d": 3}
    assert now["version"] == 2 and reply.headers["ETag"] == '"v2"'
    (_, action, changes), (_, first, _) = history(admin, contact["id"])
    assert (action, first) == ("updated", "created")
    assert changes == {"company": ("Old", None), "title": (None, "Dr."),
                       "emails": (["a@x.example"], ["b@x.example"]),
                       "metadata": (contact["metadata"], now["metadata"])}


def test_a_patch_that_changes_nothing_leaves_no_history(admin):
    contact = create(admin, tags=["a"])

    admin.patch(f"{PATH}/{contact['id']}", {"name": contact["name"], "tags": ["a"]})

    assert [a for _, a, _ in history(admin, contact["id"])] == ["created"]


def test_null_empties_what_may_be_empty(admin):
    contact = create(admin, emails=["a@x.example"], phones=["5551234"], tags=["a"],
                     metadata={"a": 1})

    now = admin.patch(f"{PATH}/{contact['id']}", {"emails": None, "phones": None, "tags": None,
                                                  "metadata": None}).json()

    assert (now["emails"], now["phones"], now["tags"], now["metadata"]) == ([], [], [], {})
    assert contact["id"] not in found(admin, email="a@x.example")
    assert_problem(admin.patch(f"{PATH}/{contact['id']}", {"name": None}), 422, fields=["name"])


@pytest.mark.parametrize("method,path,body", [
    ("PATCH", "", {"name": "y"}), ("DELETE", "", None), ("POST", "/merge", {"from": [ABSENT]})])
def test_a_stale_version_changes_nothing(admin, method, path, body):
    contact = create(admin)

    reply = admin.request(method, f"{PATH}/{contact['id']}{path}", json=body,
                          headers={"If-Match": '"v9"'})

    assert_problem(reply, 412, "precondition_failed")
    assert admin.get(f"{PATH}/{contact['id']}").json() == contact


def test_a_deleted_contact_is_gone_from_everywhere(server, admin):
    word = f"w{uuid.uuid4().hex}"
    contact = create(admin, word, emails=[f"{word}@x.example"], tags=[word], phones=["555777123"],
                     company=word)

    assert admin.delete(f"{PATH}/{contact['id']}").status_code == 204

    for params in ({"q": word}, {"email": f"{word}@x.example"}, {"tag": word}, {"company": word},
                   {"phone": "555777123"}):
        assert found(admin, **params) == [], params
    assert_problem(admin.get(f"{PATH}/{contact['id']}"), 404)
    assert_problem(admin.delete(f"{PATH}/{contact['id']}"), 404)
    for table in ("contact_term", "contact_email", "contact_phone", "contact_tag"):
        assert truth.value(server, f"SELECT count(*) FROM {table} WHERE contact_id = ?",
                           contact["id"]) == 0


def test_the_side_tables_follow_a_patch(server, admin):
    contact = create(admin, "Old Name", emails=["o@x.example"], tags=["old"], phones=["5550001"])

    admin.patch(f"{PATH}/{contact['id']}", {"name": "New Name", "emails": ["n@x.example"],
                                            "tags": ["new"], "phones": ["5550002"]})

    terms = {r[0] for r in truth.rows(server, "SELECT term FROM contact_term WHERE contact_id = ?",
                                      contact["id"])}
    assert terms == {"new", "name", "n", "x", "example", "5550002"}
    assert found(admin, email="N@x.example") == [contact["id"]]
    assert found(admin, phone="5550002") == [contact["id"]]
    assert contact["id"] not in found(admin, q="old") + found(admin, tag="old")


# --- lists ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crowd(common_server):
    """A team of its own with seven contacts."""
    api = Tenant(common_server).api
    ids = [create(api, f"Person {i}", company="ACME" if i % 2 else "Other",
                  tags=["odd"] if i % 2 else ["even"], emails=[f"p{i}@x.example"],
                  phones=[f"+49 30 10000{i}"])["id"] for i in range(7)]
    return api, ids


def test_the_list_goes_newest_first_page_by_page(server, crowd):
    api, ids = crowd

    assert found(api, limit=2) == ids[::-1]
    assert found(api, limit=3, sort="created_at") == ids
    assert found(api, sort="-updated_at", limit=4) == ids[::-1]
    assert found(api, sort="updated_at") == ids


@pytest.mark.parametrize("params,wanted", [
    ({"tag": "ODD"}, [5, 3, 1]), ({"tag": "odd", "sort": "created_at", "limit": 2}, [1, 3, 5]),
    ({"tag": "odd", "sort": "updated_at", "limit": 2}, [1, 3, 5]),
    ({"company": "acme", "limit": 1}, [5, 3, 1]), ({"email": "P3@X.example"}, [3]),
    ({"phone": "+4930100004"}, [4]), ({"phone": "49 30 10000 4"}, [4]),
    ({"phone": "+4930199999"}, []), ({"tag": "odd", "company": "other"}, []),
    ({"tag": "odd", "email": "p1@x.example"}, [1]), ({"created_after": "2099-01-01"}, []),
    ({"created_before": "2099-01-01", "tag": "even", "limit": 3}, [6, 4, 2, 0]),
    ({"updated_after": "2020-01-01", "email": "p0@x.example"}, [0]),
    ({"updated_before": "2020-01-01"}, []),
    ({"q": "person", "tag": "odd", "limit": 2}, [5, 3, 1]), ({"q": "p5", "company": "acme"}, [5]),
])
def test_filters_say_what_is_shown(server, crowd, params, wanted):
    api, ids = crowd

    assert found(api, **params) == [ids[i] for i in wanted]


@pytest.mark.parametrize("params,field", [
    ({"limit": 0}, "limit"), ({"limit": 201}, "limit"), ({"cursor": "x"}, "cursor"),
    ({"sort": "name"}, "sort"), ({"phone": "call me"}, "phone"), ({"stranger": 1}, "stranger"),
    ({"q": "x", "sort": "updated_at"}, "sort"), ({"q": ""}, "q"), ({"q": "x" * 201}, "q"),
    ({"q": "x", "cursor": "bm90IG91cnM"}, "cursor"), ({"created_after": "soon"}, "created_after"),
])
def test_parameters_that_make_no_sense_are_named(admin, params, field):
    assert_problem(admin.get(PATH, params=params), 400, "invalid_parameter", fields=[field])


# --- bulk -----------------------------------------------------------------------------------------


def test_bulk_answers_each_item_in_order(server):
    api = Tenant(server).api

    reply = api.post(PATH + "/bulk", {"contacts": [
        {"name": "one", "emails": ["one@x.example"]}, {"name": ""}, 5,
        {"name": "three", "emails": ["bad"]}, {"name": "four"}]})

    assert reply.status_code == 200
    data = reply.json()["data"]
    assert [d["status"] for d in data] == [201, 422, 422, 422, 201]
    assert data[3]["error"]["errors"][0]["field"] == "emails"
    assert [d["contact"]["name"] for d in data if d["status"] == 201] == ["one", "four"]
    assert found(api) == [data[4]["id"], data[0]["id"]]
    assert found(api, email="one@x.example") == [data[0]["id"]]


def test_bulk_takes_a_thousand_and_no_more(server):
    api = Tenant(server).api
    thousand = [{"name": f"Zoë {i}", "emails": [f"c{i}@x.example"], "company": "Acme"}
                for i in range(1000)]

    reply = api.post(PATH + "/bulk", {"contacts": thousand})

    assert reply.status_code == 200
    ids = [d["id"] for d in reply.json()["data"]]
    assert len(set(ids)) == 1000
    assert found(api, q="zoe acme", limit=200) == ids[::-1]
    assert found(api, q="c999") == [ids[999]]
    assert_problem(api.post(PATH + "/bulk", {"contacts": thousand + thousand[:1]}), 422,
                   fields=["contacts"])


@pytest.mark.parametrize("body", [{}, {"contacts": []}, {"contacts": "x"}, {"contacts": None},
                                  {"contacts": [{"name": "x"}], "stranger": 1}])
def test_bulk_without_a_list_is_refused(admin, body):
    assert_problem(admin.post(PATH + "/bulk", body), 422)


def test_a_repeated_key_makes_one_contact(admin):
    word, headers = f"w{uuid.uuid4().hex}", {"Idempotency-Key": str(uuid.uuid4())}

    first = admin.post(PATH, {"name": word}, headers=headers)
    again = admin.post(PATH, {"name": word}, headers=headers)

    assert again.text == first.text and again.headers["Idempotency-Replayed"] == "true"
    assert found(admin, q=word) == [first.json()["id"]]

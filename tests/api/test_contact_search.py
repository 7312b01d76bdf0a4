"""Search of contacts: what words find, in which order, and that no text breaks it or leaks."""

import uuid

import pytest
from harness.client import assert_problem
from harness.tenants import Tenant

PATH = "/v1/contacts"


def create(api, name, **fields):
    reply = api.post(PATH, {"name": name, **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()["id"]


def search(api, q, **params):
    """Ids over all pages; each page keeps to the limit."""
    ids, cursor = [], None
    for _ in range(300):
        reply = api.get(PATH, params={"q": q, **params, **({"cursor": cursor} if cursor else {})})
        assert reply.status_code == 200, f"{q!r}: {reply.text}"
        page = reply.json()
        assert len(page["data"]) <= params.get("limit", 50)
        ids += [c["id"] for c in page["data"]]
        cursor = page["next_cursor"]
        if not cursor:
            return ids
    raise AssertionError("paging does not end")


@pytest.fixture(scope="module")
def people(common_server):
    api = Tenant(common_server).api
    ids = {
        "jose": create(api, "José García-Márquez", company="Ñandú S.A."),
        "zoe": create(api, "Zoë Müller", company="Straße & Söhne",
                      emails=["zoe.mueller@acme.example"], phones=["+49 (30) 123-4567"]),
        "ivan": create(api, "Иван Петров", company="ООО Ромашка"),
        "wang": create(api, "王小明", company="東京タワー"),
        "hindi": create(api, "हिन्दी नाम", emails=["x@भारत.example"]),
        "emoji": create(api, "Smile 😀 Person", company="ﬁne ﬂour"),
        "john": create(api, "John Smith", company="Smith John Ltd",
                       emails=["john@smith.example"]),
        "johnson": create(api, "Johnson Smithers"),
    }
    return api, ids


@pytest.mark.parametrize("q,wanted", [
    ("jose", ["jose"]), ("JOSÉ", ["jose"]), ("josé garcia", ["jose"]), ("marq gar", ["jose"]),
    ("nandu", ["jose"]), ("zoe", ["zoe"]), ("muller", ["zoe"]), ("mueller", ["zoe"]),
    ("strasse", ["zoe"]), ("STRASSE sohne", ["zoe"]), ("acme", ["zoe"]),
    ("zoe.mueller@acme.example", ["zoe"]), ("+49 30 123", ["zoe"]), ("4930123", ["zoe"]),
    ("(4930) 123-4567", ["zoe"]), ("иван", ["ivan"]), ("ПЕТР ром", ["ivan"]), ("王", ["wang"]),
    ("東京", ["wang"]), ("हिन्दी", ["hindi"]), ("भारत", ["hindi"]), ("smile 😀", ["emoji"]),
    ("fine", ["emoji"]), ("flour", ["emoji"]), ("john", ["johnson", "john"]),
    ("john smith", ["johnson", "john"]), ("smith john ltd", ["john"]), ("johns", ["johnson"]),
    ("j", ["johnson", "john", "jose"]), ("john john john", ["johnson", "john"]),
    ("jo john smi smith", ["johnson", "john"]), ("ohn", []), ("nobody", []), ("zoe nobody", []),
    ("tower", []), ("john smith ltd example smith.example john@smith.example s j", ["john"]),
])
def test_every_word_must_begin_a_word_of_the_contact(server, people, q, wanted):
    api, ids = people

    assert search(api, q) == [ids[w] for w in wanted]
    assert search(api, q, limit=1) == [ids[w] for w in wanted]


def test_words_after_the_eighth_are_not_looked_at(server, people):
    api, ids = people

    assert search(api, "j o h n s m i t nonsense") == []
    assert search(api, "joh john smi smit smith lt ltd jo nonsense") == [ids["john"]]


@pytest.mark.parametrize("q", [
    '"', "'", "*", "john*", '"john"', "(john", "john)", "AND", "OR", "NOT", "NEAR",
    "john AND OR NOT * \" ( ) : ^", "name:john", "^john", "john NEAR/2 smith", "-john", "+john",
    "{a b} : c", "john & smith", "john | smith", "!john", "john <-> smith", "john:*", "%", "_",
    "j%", "j_hn", "\\", "\\\\%", "';DROP TABLE contact;--", "$1", "?1", " ", "\t", "\u200b",
    "\ufeff", "\u202e", "\U0010ffff", "e\u0301", "\u0301", "ﷺ", "a" * 200, "é" * 200, "😀" * 100,
    "1", "+", "()-./", "0" * 100, "\u0000x"[1:], "ß", "İ", "ı", "ǆ", "ﬁ", "Å", "가", "각",
])
def test_no_text_is_an_expression(server, people, q):
    api, ids = people

    got = search(api, q)

    assert len(got) == len(set(got))
    assert set(got) <= set(ids.values())


@pytest.mark.parametrize("q", ["%", "_", "*", "\\", "'", '"', " ", "()", "\u200b", "😀"])
def test_a_query_without_words_finds_nothing(server, people, q):
    api, _ = people

    assert search(api, q) == []


def test_composed_and_decomposed_letters_are_the_same(server):
    api = Tenant(server).api
    one, two = create(api, "Jose\u0301 e\u0301"), create(api, "Jos\u00e9 \uac01")

    assert search(api, "jos\u00e9") == search(api, "jose\u0301") == [two, one]
    assert search(api, "\u1100\u1161\u11a8") == search(api, "\uac01") == [two]


def test_the_same_words_in_two_teams_stay_apart(server):
    mine, theirs = Tenant(server).api, Tenant(server).api
    own = [create(mine, f"Common Word{i}", emails=[f"same{i}@x.example"]) for i in range(5)]
    foreign = [create(theirs, f"Common Word{i}", emails=[f"same{i}@x.example"]) for i in range(9)]

    for q in ("common", "c", "word", "common word", "same", "same3", "x example", "common same1"):
        assert set(search(mine, q, limit=2)) <= set(own), q
        assert set(search(theirs, q, limit=2)) <= set(foreign), q
    assert search(mine, "common", limit=2) == own[::-1]
    assert search(theirs, "w", limit=4) == foreign[::-1]


def test_a_cursor_is_bound_to_words_filters_and_team(server):
    mine, theirs = Tenant(server).api, Tenant(server).api
    for api in (mine, theirs):
        for i in range(4):
            create(api, f"Bound {i}", tags=["t"])
    cursor = mine.get(PATH, params={"q": "bound", "limit": 2}).json()["next_cursor"]

    for api, params in ((mine, {"q": "boun"}), (mine, {"q": "bound", "tag": "t"}), (mine, {}),
                        (theirs, {"q": "bound"})):
        assert_problem(api.get(PATH, params={**params, "cursor": cursor}), 400,
                       "invalid_parameter", fields=["cursor"])
    assert len(mine.get(PATH, params={"q": "bound", "limit": 2, "cursor": cursor}).json()["data"]) \
        == 2


def test_pages_survive_new_and_deleted_contacts(server):
    api = Tenant(server).api
    ids = [create(api, f"Steady {i}") for i in range(6)]
    first = api.get(PATH, params={"q": "steady", "limit": 2}).json()
    create(api, "Steady newcomer")
    api.delete(f"{PATH}/{ids[3]}")

    rest = api.get(PATH, params={"q": "steady", "limit": 50, "cursor": first["next_cursor"]}).json()

    assert [c["id"] for c in first["data"]] == [ids[5], ids[4]]
    assert [c["id"] for c in rest["data"]] == [ids[2], ids[1], ids[0]]


def test_words_with_very_many_forms_are_found_over_all_pages(server):
    """More distinct words, and more contacts, than one page looks at."""
    api, n = Tenant(server).api, 9000
    ids = []
    for begin in range(0, n, 1000):
        items = [{"name": f"User{i:05} Even" if i % 2 == 0 else f"User{i:05}"}
                 for i in range(begin, begin + 1000)]
        data = api.post(PATH + "/bulk", {"contacts": items}).json()["data"]
        ids += [d["id"] for d in data]

    assert search(api, "user", limit=200) == ids[::-1]
    assert search(api, "user even", limit=200) == ids[::2][::-1]
    assert search(api, "us ev", limit=200) == ids[::2][::-1]
    assert search(api, "user00123") == [ids[123]]
    assert search(api, "user0012") == ids[120:130][::-1]
    assert search(api, "even user0000") == [ids[i] for i in (8, 6, 4, 2, 0)]


def test_very_large_contacts_fill_smaller_pages(server):
    api = Tenant(server).api
    ids = [create(api, f"Large {uuid.uuid4().hex}", metadata={"big": "x" * 60000})
           for _ in range(45)]

    assert search(api, "large", limit=100) == ids[::-1]
    assert search(api, "l", limit=100) == ids[::-1]

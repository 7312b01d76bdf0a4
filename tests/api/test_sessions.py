"""Signing in and out, sessions, the CSRF token, /v1/me, and what slows a guesser down."""

import base64
import hashlib
import hmac
import re
import statistics
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from harness import truth
from harness.client import Api, assert_problem
from harness.jobs import run_now
from harness.people import PASSWORD, Person, create_user, new_email, person_on
from harness.tenants import Tenant
from harness.wait import wait_until

WRONG = "wrong horse battery"


def totp(secret, step=None):
    step = int(time.time()) // 30 if step is None else step
    mac = hmac.digest(base64.b32decode(secret), struct.pack(">Q", step), "sha1")
    at = mac[-1] & 15
    return f"{(struct.unpack('>I', mac[at:at + 4])[0] & 0x7FFFFFFF) % 1000000:06d}"


def stranger(server, email, password=WRONG, **kwargs):
    return Person(server, email, password, **kwargs)


# --- signing in ----------------------------------------------------------------------------------


def test_sign_in_answers_with_session_user_teams_and_token(server):
    made = create_user(server, "agent", name="Ann Agent")
    ann = Person(server, made["email"])

    reply = ann.try_sign_in()

    body = reply.json()
    assert reply.status_code == 201
    assert body["user"]["name"] == "Ann Agent" and body["user"]["id"] == made["id"]
    assert [(t["slug"], t["role"]) for t in body["teams"]] == [("default", "agent")]
    assert body["user"]["last_sign_in_at"] >= body["user"]["created_at"]
    assert body["session"]["current"] is True and body["session"]["ip"] == "127.0.0.1"
    assert len(base64.urlsafe_b64decode(body["csrf_token"] + "=")) == 32
    assert "argon2" not in reply.text and reply.headers["Cache-Control"] == "no-store"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(server):
    made = create_user(server)

    reply = Person(server, made["email"]).try_sign_in()

    cookies = reply.raw.headers.getlist("Set-Cookie")
    assert [c.split("=")[0] for c in cookies] == ["tessera_session", "tessera_device"]
    for cookie in cookies:
        attributes = cookie.split("; ")[1:]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
        assert "Secure" not in attributes
    assert "Max-Age=2592000" in cookies[0]


def test_cookies_are_secure_behind_https(start_server):
    server = start_server(env={"TESSERA_PUBLIC_URL": "https://tessera.example.com"})
    made = create_user(server)

    reply = Person(server, made["email"]).try_sign_in()

    assert all("; Secure" in c for c in reply.raw.headers.getlist("Set-Cookie"))


def test_the_address_is_read_in_any_letter_case(server):
    made = create_user(server)

    assert Person(server, made["email"].upper()).try_sign_in().status_code == 201


@pytest.mark.parametrize("change", [{"password": WRONG}, {"email": "nobody@example.com"},
                                    {"email": "not an address"}])
def test_wrong_credentials_are_told_alike(server, change):
    made = create_user(server)

    reply = Person(server, made["email"]).try_sign_in(**change)

    problem = assert_problem(reply, 401, "invalid_credentials")
    assert problem["detail"] == "The e-mail address or the password is wrong"
    assert "Set-Cookie" not in reply.headers


def test_a_disabled_user_looks_like_a_wrong_password(server):
    made = create_user(server)
    server.cli("user", "disable", made["email"])

    assert_problem(Person(server, made["email"]).try_sign_in(), 401, "invalid_credentials")

    server.cli("user", "enable", made["email"])
    Person(server, made["email"]).sign_in()


def test_an_unknown_address_takes_as_long_as_a_wrong_password(server):
    made = create_user(server)
    known, unknown = stranger(server, made["email"]), stranger(server, new_email())
    took = {known: [], unknown: []}

    for _ in range(8):
        for who, times in took.items():
            began = time.monotonic()
            assert who.try_sign_in().status_code == 401
            times.append(time.monotonic() - began)

    a, b = (statistics.median(t) for t in took.values())
    assert 0.5 < a / b < 2, (a, b)      # the hash is most of it; without one b would be nothing


@pytest.mark.parametrize("body, field", [
    ({}, "email"), ({"email": "a@b.c"}, "password"), ({"email": 1, "password": "x"}, "email"),
    ({"email": "a@b.c", "password": "x" * 1001}, "password"),
    ({"email": "a@b.c", "password": "x", "admin": True}, "admin"),
    ({"email": "a@b.c", "password": "x", "totp_code": ""}, "totp_code")])
def test_a_malformed_sign_in_is_named(server, body, field):
    assert_problem(Api(server).post("/v1/sessions", body), 422, fields=[field])


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded",
                                          "multipart/form-data", None])
def test_another_sites_form_does_not_sign_in(server, content_type):
    made = create_user(server)
    body = f'{{"email":"{made["email"]}","password":"{PASSWORD}"}}'
    with requests.Session() as s:
        s.trust_env = False
        request = requests.Request("POST", server.url + "/v1/sessions", data=body.encode(),
                                   headers={"Content-Type": content_type} if content_type else {})
        reply = s.send(s.prepare_request(request), timeout=15)

    assert_problem(reply, 415, "unsupported_media_type")


def test_the_secret_is_kept_as_a_hash_only(server):
    made = create_user(server)
    ann = Person(server, made["email"]).sign_in()
    secret = ann.session.cookies["tessera_session"]

    kept = truth.rows(server, "SELECT * FROM user_session WHERE id = ?", ann.session_id)

    assert hashlib.sha256(secret.encode()).hexdigest() in kept[0]
    assert secret not in str(kept) and secret not in server.log_text()


# --- what a session may --------------------------------------------------------------------------


def test_a_session_opens_the_api(new_person):
    ann = new_person("agent")

    ticket = ann.create_v1("by hand")

    assert ann.get(f"/v1/tickets/{ticket['id']}").json()["title"] == "by hand"


@pytest.mark.parametrize("token", [None, "", "x", "A" * 43])
def test_a_change_without_the_csrf_token_is_refused(new_person, token):
    ann = new_person()
    good, ann.csrf_token = ann.csrf_token, None

    reply = ann.post("/v1/tickets", {"title": "x"}, headers={"X-CSRF-Token": token})

    assert_problem(reply, 403, "csrf_token_invalid")
    assert ann.get("/v1/tickets").status_code == 200
    assert ann.post("/v1/tickets", {"title": "x"},
                    headers={"X-CSRF-Token": good}).status_code == 201


def test_another_sessions_csrf_token_is_refused(new_person):
    ann = new_person()
    second = ann.again()

    second.csrf_token = ann.csrf_token

    assert_problem(second.post("/v1/tickets", {"title": "x"}), 403, "csrf_token_invalid")


@pytest.mark.parametrize("cookie", ["tessera_session=x", "tessera_session=" + "A" * 43,
                                    "tessera_session=\x80", "a=b; tessera_session=y"])
def test_a_wrong_cookie_is_no_session(server, cookie):
    reply = Api(server).get("/v1/me", headers={"Cookie": cookie.encode("latin-1")})

    assert_problem(reply, 401, "invalid_token")


@pytest.mark.parametrize("cookie", ["", "tessera_session=", "tessera_session", "other=1;;=",
                                    "xtessera_session=1"])
def test_a_cookie_of_something_else_is_no_proof(server, cookie):
    reply = Api(server).get("/v1/me", headers={"Cookie": cookie})

    assert_problem(reply, 401, "missing_token")


def test_a_key_beside_a_cookie_wins(server, new_person):
    ann = new_person()
    key = server.new_token(scopes=["tickets:read"])["token"]

    reply = ann.get("/v1/me", headers={"Authorization": f"Bearer {key}"})

    assert_problem(reply, 403, "user_required")


def test_a_session_does_not_open_the_documents_api(new_person):
    ann = new_person()

    reply = ann.get("/functions/v1/integration-tickets/tickets/00000000-0000-7000-8000-000000000009")

    assert reply.status_code == 401


def test_a_role_bounds_what_a_session_may(new_person):
    viewer = new_person("viewer")

    assert viewer.get("/v1/tickets").status_code == 200
    problem = assert_problem(viewer.post("/v1/tickets", {"title": "x"}), 403, "insufficient_role")
    assert "agent" in problem["detail"]


# --- teams ---------------------------------------------------------------------------------------


def test_a_user_of_several_teams_names_one(server):
    first, second = Tenant(server), Tenant(server)
    made = create_user(server, "owner", team=first.slug)
    server.cli("user", "role", made["email"], "viewer", "--team", second.slug)
    ann = Person(server, made["email"]).sign_in()

    assert_problem(ann.get("/v1/tickets"), 400, "team_required")
    assert ann.get("/v1/me").json()["team"] is None
    for name in (first.slug, first.id, first.id.upper()):
        me = ann.get("/v1/me", headers={"Tessera-Team": name}).json()
        assert (me["team"]["id"], me["team"]["role"]) == (first.id, "owner")
    ann.team = second.slug
    assert ann.get("/v1/me").json()["team"]["role"] == "viewer"
    assert_problem(ann.post("/v1/tickets", {"title": "x"}), 403, "insufficient_role")
    assert sorted((t["slug"], t["role"]) for t in ann.get("/v1/me").json()["teams"]) == sorted(
        [(first.slug, "owner"), (second.slug, "viewer")])


@pytest.mark.parametrize("name", ["no-such-team", "00000000-0000-7000-8000-00000000dead", "'", "ü"])
def test_a_team_of_others_is_not_found(server, new_person, name):
    ann, foreign = new_person(), Tenant(server)

    for team in (name, foreign.slug, foreign.id):
        reply = ann.get("/v1/tickets", headers={"Tessera-Team": team.encode()})
        assert_problem(reply, 404, "not_found")


def test_a_removed_member_is_refused_at_once(server):
    team = Tenant(server)
    ann = person_on(server, "agent", team.slug)
    assert ann.get("/v1/tickets").status_code == 200

    assert team.api.delete(f"/v1/users/{ann.user_id}").status_code == 204

    assert_problem(ann.get("/v1/tickets"), 404, "not_found")
    ann.team = None
    assert_problem(ann.get("/v1/tickets"), 404, "not_found")
    assert ann.get("/v1/me").json()["teams"] == []


def test_a_disabled_user_is_refused_at_once(server, new_person):
    ann = new_person()

    server.cli("user", "disable", ann.email)

    assert_problem(ann.get("/v1/tickets"), 401, "invalid_token")
    server.cli("user", "enable", ann.email)
    assert_problem(ann.get("/v1/tickets"), 401, "invalid_token")       # sessions ended with it


# --- sessions ------------------------------------------------------------------------------------


def test_sessions_are_listed_and_ended(new_person):
    ann = new_person()
    other, third = ann.again(), ann.again()

    listed = ann.get("/v1/sessions").json()["data"]

    assert [s["id"] for s in listed] == [ann.session_id, other.session_id, third.session_id]
    assert [s["current"] for s in listed] == [True, False, False]
    assert ann.delete(f"/v1/sessions/{other.session_id}").status_code == 204
    assert_problem(other.get("/v1/me"), 401, "invalid_token")
    assert len(ann.get("/v1/sessions").json()["data"]) == 2
    assert third.get("/v1/me").status_code == 200


def test_sessions_are_paged(new_person):
    ann = new_person()
    all_of_them = [ann.session_id] + [ann.again().session_id for _ in range(3)]

    found, cursor = [], None
    while True:
        page = ann.get("/v1/sessions", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += [s["id"] for s in page.json()["data"]]
        cursor = page.json()["next_cursor"]
        if not cursor:
            break

    assert found == all_of_them
    assert_problem(ann.get("/v1/sessions", params={"cursor": "x"}), 400, "invalid_parameter")


def test_a_foreign_session_is_not_found(new_person):
    ann, bob = new_person(), new_person()

    assert_problem(ann.delete(f"/v1/sessions/{bob.session_id}"), 404, "not_found")
    assert_problem(ann.delete("/v1/sessions/not-an-id"), 400, "invalid_parameter",
                   fields=["session_id"])
    assert bob.get("/v1/me").status_code == 200


def test_signing_out_ends_the_session_and_its_cookie(new_person):
    ann = new_person()

    reply = ann.delete("/v1/sessions/current")

    assert reply.status_code == 204
    assert "tessera_session=;" in reply.headers["Set-Cookie"]
    assert "Max-Age=0" in reply.headers["Set-Cookie"]
    assert "tessera_session" not in ann.session.cookies
    assert_problem(ann.get("/v1/me"), 401, "missing_token")


def test_signing_out_without_the_csrf_token_changes_nothing(new_person):
    ann = new_person()
    ann.csrf_token = None

    assert_problem(ann.delete("/v1/sessions/current"), 403, "csrf_token_invalid")
    assert ann.get("/v1/me").status_code == 200


def test_a_key_has_no_sessions(server):
    key = Api(server, server.new_token(scopes=["admin:full"])["token"])

    for method, path in (("GET", "/v1/sessions"), ("DELETE", "/v1/sessions/current"),
                         ("GET", "/v1/me"),
                         ("DELETE", "/v1/sessions/00000000-0000-7000-8000-000000000001")):
        assert_problem(key.request(method, path), 403, "user_required")
    assert_problem(key.patch("/v1/me", {"name": "x"}), 403, "user_required")
    assert_problem(key.post("/v1/me/password", {}), 403, "user_required")


def test_an_old_session_ends_whatever_is_done_with_it(server, new_person):
    ann = new_person()

    truth.execute(server, "UPDATE user_session SET expires_ms = ? WHERE id = ?",
                  int(time.time() * 1000), ann.session_id)

    assert_problem(ann.get("/v1/me"), 401, "invalid_token")
    assert ann.again().get("/v1/sessions").json()["data"][0]["id"] != ann.session_id


def test_a_quiet_session_ends(start_server):
    server = start_server(env={"TESSERA_SESSION_IDLE_MINUTES": "5"})
    ann = person_on(server)
    assert ann.get("/v1/me").status_code == 200
    server.stop()
    truth.execute(server, "UPDATE user_session SET seen_ms = ? WHERE id = ?",
                  int(time.time() * 1000) - 299_000, ann.session_id)
    server.start()
    assert ann.get("/v1/me").status_code == 200                         # in time
    server.stop()
    truth.execute(server, "UPDATE user_session SET seen_ms = ? WHERE id = ?",
                  int(time.time() * 1000) - 300_000, ann.session_id)
    server.start()

    assert_problem(ann.get("/v1/me"), 401, "invalid_token")


def test_a_request_is_remembered_over_a_restart(start_server):
    server = start_server()
    ann = person_on(server)
    truth.execute(server, "UPDATE user_session SET seen_ms = ? WHERE id = ?",
                  int(time.time() * 1000) - 600_000, ann.session_id)
    before = int(time.time() * 1000)
    assert ann.get("/v1/me").status_code == 200

    server.stop()

    assert truth.value(server, "SELECT seen_ms FROM user_session WHERE id = ?",
                       ann.session_id) >= before
    server.start()


def test_ended_sessions_are_dropped(start_server):
    server = start_server()
    ann, bob = person_on(server), person_on(server)
    truth.execute(server, "UPDATE user_session SET expires_ms = 1 WHERE id = ?", ann.session_id)

    run_now(server, "sessions.purge")

    wait_until(lambda: truth.rows(server, "SELECT id FROM user_session") == [(bob.session_id,)], 10,
               "only the session that goes on is left")


def test_a_user_keeps_a_hundred_sessions_at_most(server, new_person):
    ann = new_person()
    now = int(time.time() * 1000)
    for i in range(110):
        truth.execute(server, "INSERT INTO user_session (id, user_id, secret_hash, created_ms, "
                              "seen_ms, expires_ms, ip, agent) VALUES (?, ?, ?, ?, ?, ?, '', '')",
                      f"01900000-0000-7000-8000-{i:012d}", ann.user_id,
                      f"{ann.user_id}{i}", now, now, now + 3600_000)

    ann.again()

    assert truth.value(server, "SELECT COUNT(*) FROM user_session WHERE user_id = ?",
                       ann.user_id) == 100
    assert ann.get("/v1/me").status_code == 200         # the newest stay


# --- /v1/me --------------------------------------------------------------------------------------


def test_me_shows_the_user_and_the_token_again(new_person):
    ann = new_person("admin", name="Ann")

    me = ann.get("/v1/me").json()

    assert me["csrf_token"] == ann.csrf_token
    assert me["user"]["email"] == ann.email and me["user"]["totp_enabled"] is False
    assert me["user"]["last_sign_in_at"] >= me["user"]["created_at"]
    assert me["team"]["role"] == "admin" and me["teams"] == [me["team"]]


def test_me_is_renamed(server):
    team = Tenant(server)
    ann = person_on(server, "viewer", team.slug)

    changed = ann.patch("/v1/me", {"name": "Ännchen"})

    assert changed.status_code == 200 and changed.json()["name"] == "Ännchen"
    assert ann.get("/v1/me").json()["user"]["name"] == "Ännchen"
    assert ann.patch("/v1/me", {}).json()["name"] == "Ännchen"
    row = team.audit(action="user.update")[-1]
    assert (row["before"]["name"], row["after"]["name"]) == (ann.user["name"], "Ännchen")
    assert row["actor_id"] == ann.user_id


@pytest.mark.parametrize("body", [{"name": ""}, {"name": None}, {"name": "x" * 201},
                                  {"name": "a\nb"}])
def test_a_bad_name_is_named(new_person, body):
    assert_problem(new_person().patch("/v1/me", body), 422, fields=["name"])


@pytest.mark.parametrize("body", [{"role": "owner"}, {"email": "x@example.com"},
                                  {"status": "active"}])
def test_nobody_promotes_himself_by_a_patch(new_person, body):
    ann = new_person("viewer")

    assert_problem(ann.patch("/v1/me", body), 422, fields=body.keys())


# --- password ------------------------------------------------------------------------------------


def test_a_new_password_ends_the_other_sessions(new_person):
    ann = new_person()
    other = ann.again()
    body = {"current_password": PASSWORD, "new_password": "a new horse battery"}

    assert ann.post("/v1/me/password", body).status_code == 204

    assert ann.get("/v1/me").status_code == 200
    assert_problem(other.get("/v1/me"), 401, "invalid_token")
    assert_problem(ann.try_sign_in(), 401, "invalid_credentials")
    ann.password = "a new horse battery"
    ann.sign_in()


def test_a_new_password_needs_the_old_one(new_person):
    ann = new_person()

    reply = ann.post("/v1/me/password", {"current_password": WRONG, "new_password": "x" * 12})

    assert_problem(reply, 422, "invalid_field", fields=["current_password"])
    ann.sign_in()


@pytest.mark.parametrize("body, field", [
    ({}, "current_password"), ({"current_password": PASSWORD}, "new_password"),
    ({"current_password": PASSWORD, "new_password": "eleven char"}, "new_password"),
    ({"current_password": PASSWORD, "new_password": "x" * 1001}, "new_password")])
def test_a_bad_new_password_is_named(new_person, body, field):
    assert_problem(new_person().post("/v1/me/password", body), 422, fields=[field])


def test_a_password_change_is_in_the_audit_log(server):
    team = Tenant(server)
    ann = person_on(server, "viewer", team.slug)

    ann.post("/v1/me/password", {"current_password": PASSWORD, "new_password": "y" * 12})

    row = team.audit(action="user.password_change")[-1]
    assert (row["actor_kind"], row["actor_id"], row["target_id"]) == ("user", ann.user_id,
                                                                      ann.user_id)
    assert "argon2" not in str(row)


# --- second factor -------------------------------------------------------------------------------


def with_second_factor(person):
    """(secret, recovery codes, the step that is used up)"""
    secret = person.post("/v1/me/totp").json()["secret"]
    for _ in range(2):              # the clock may go on to the next step in between
        step = int(time.time()) // 30 - 1
        reply = person.post("/v1/me/totp/confirm", {"code": totp(secret, step)})
        if reply.status_code == 200:
            return secret, reply.json()["recovery_codes"], step
    raise AssertionError(reply.text)


def test_a_second_factor_is_asked_for_after_the_password(new_person):
    ann = new_person()
    with_second_factor(ann)

    assert_problem(ann.try_sign_in(), 401, "totp_required")
    assert_problem(ann.try_sign_in(password=WRONG), 401, "invalid_credentials")
    assert_problem(ann.try_sign_in(password=WRONG, totp_code="000000"), 401, "invalid_credentials")


def test_a_code_signs_in_once(new_person):
    ann = new_person()
    secret, _, used = with_second_factor(ann)

    assert_problem(ann.try_sign_in(totp_code=totp(secret, used)), 401, "invalid_credentials")
    code = totp(secret, used + 1)
    reply = ann.try_sign_in(totp_code=code)
    assert reply.status_code == 201 and reply.json()["user"]["totp_enabled"] is True
    assert_problem(ann.try_sign_in(totp_code=code), 401, "invalid_credentials")


def test_one_code_at_the_same_moment_signs_in_once(server, new_person):
    ann = new_person()
    secret, _, used = with_second_factor(ann)
    browsers = [Person(server, ann.email) for _ in range(4)]

    with ThreadPoolExecutor(4) as pool:
        got = list(pool.map(lambda b: b.try_sign_in(totp_code=totp(secret, used + 1)).status_code,
                            browsers))

    assert sorted(got) == [201, 401, 401, 401]


def test_a_recovery_code_signs_in_once(new_person):
    ann = new_person()
    _, codes, _ = with_second_factor(ann)

    assert ann.try_sign_in(recovery_code=codes[0]).status_code == 201
    assert_problem(ann.try_sign_in(recovery_code=codes[0]), 401, "invalid_credentials")
    assert ann.try_sign_in(recovery_code=codes[1]).status_code == 201


# --- guessing ------------------------------------------------------------------------------------


@pytest.fixture
def strict(start_server):
    """Three failures an account and address; addresses are told by a trusted proxy."""
    return start_server(env={"TESSERA_SIGN_IN_LIMIT": "3",
                             "TESSERA_TRUSTED_PROXIES": "127.0.0.1"})


def attempt(who, ip, **more):
    return who.post("/v1/sessions", {"email": who.email, "password": who.password, **more},
                    headers={"X-Forwarded-For": ip})


def test_guessing_is_stopped(strict):
    made = create_user(strict)
    guesser = stranger(strict, made["email"])
    for _ in range(3):
        assert_problem(attempt(guesser, "192.0.2.1"), 401, "invalid_credentials")

    reply = attempt(guesser, "192.0.2.1")

    assert_problem(reply, 429, "rate_limit_exceeded")
    assert 0 < int(reply.headers["Retry-After"]) <= 900
    right = attempt(Person(strict, made["email"]), "192.0.2.1")
    assert right.status_code == 429                     # a right guess is not told either
    assert attempt(Person(strict, made["email"]), "192.0.2.2").status_code == 201


def test_guesses_at_the_same_moment_get_no_further(strict):
    made = create_user(strict)
    guessers = [stranger(strict, made["email"]) for _ in range(8)]

    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda g: attempt(g, "192.0.2.1").status_code, guessers))

    assert sorted(got) == [401] * 3 + [429] * 5


def test_unknown_accounts_are_counted_alike(strict):
    guesser = stranger(strict, "nobody@example.com")

    got = [attempt(guesser, "192.0.2.1").status_code for _ in range(4)]

    assert got == [401, 401, 401, 429]


def test_success_starts_the_count_anew(strict):
    made = create_user(strict)
    wrong = stranger(strict, made["email"])

    for _ in range(3):
        for _ in range(2):
            assert attempt(wrong, "192.0.2.1").status_code == 401
        assert attempt(Person(strict, made["email"]), "192.0.2.1").status_code == 201


def test_a_v6_network_is_one_address(strict):
    made = create_user(strict)
    guesser = stranger(strict, made["email"])

    got = [attempt(guesser, f"2001:db8::{i}").status_code for i in range(4)]

    assert got == [401, 401, 401, 429]
    assert attempt(guesser, "2001:db8:0:1::1").status_code == 401


def test_an_address_is_stopped_over_many_accounts(strict):
    got = [attempt(stranger(strict, new_email()), "192.0.2.9").status_code for _ in range(31)]

    assert got == [401] * 30 + [429]


def test_strangers_do_not_lock_the_owner_out(strict):
    made = create_user(strict)
    owner = Person(strict, made["email"])
    assert attempt(owner, "198.51.100.1").status_code == 201            # leaves a device cookie
    guesser = stranger(strict, made["email"])
    got = [attempt(guesser, f"192.0.2.{i // 3}").status_code for i in range(31)]
    assert got == [401] * 30 + [429]

    assert attempt(Person(strict, made["email"]), "198.51.100.2").status_code == 429
    assert attempt(owner, "198.51.100.2").status_code == 201            # the known browser


def test_strangers_behind_the_same_address_do_not_lock_the_owner_out(strict):
    made = create_user(strict)
    owner, guesser = Person(strict, made["email"]), stranger(strict, made["email"])
    assert attempt(owner, "192.0.2.77").status_code == 201              # leaves a device cookie
    assert [attempt(guesser, "192.0.2.77").status_code for _ in range(4)] == [401] * 3 + [429]

    assert attempt(owner, "192.0.2.77").status_code == 201
    owner.password, right = WRONG, owner.password
    assert [attempt(owner, "192.0.2.77").status_code for _ in range(4)] == [401] * 3 + [429]
    owner.password = right
    assert attempt(owner, "192.0.2.78").status_code == 429              # it is the browser's own


@pytest.mark.parametrize("forge", [
    lambda c: re.sub(r"^\d+", "9" * 13, c), lambda c: c[:-1] + ("A" if c[-1] != "A" else "B"),
    lambda c: c.split(".")[0], lambda c: "..", lambda c: "x" * 300])
def test_a_forged_device_cookie_is_none(strict, forge):
    made, other = create_user(strict), create_user(strict)
    owner = Person(strict, made["email"])
    assert attempt(owner, "198.51.100.1").status_code == 201
    device = owner.session.cookies["tessera_device"]
    guesser = stranger(strict, other["email"])
    for i in range(30):
        attempt(guesser, f"192.0.2.{i // 3}")

    for cookie in (device, forge(device)):              # another account's, then a forged one
        browser = Person(strict, other["email"])
        browser.session.cookies["tessera_device"] = cookie
        assert attempt(browser, "198.51.100.7").status_code == 429


def test_a_device_cookie_lives_over_a_restart(strict):
    made = create_user(strict)
    owner = Person(strict, made["email"])
    assert attempt(owner, "198.51.100.1").status_code == 201
    strict.stop()
    strict.start()
    guesser = stranger(strict, made["email"])
    for i in range(30):
        attempt(guesser, f"192.0.2.{i // 3}")

    assert attempt(Person(strict, made["email"]), "198.51.100.2").status_code == 429
    assert attempt(owner, "198.51.100.2").status_code == 201


def test_a_stolen_session_does_not_find_the_password(strict):
    ann = person_on(strict)
    body = {"current_password": WRONG, "new_password": "x" * 12}

    got = [ann.post("/v1/me/password", body).status_code for _ in range(4)]

    assert got == [422, 422, 422, 429]


def test_a_wrong_code_is_a_failure_and_a_missing_one_is_not(strict):
    ann = person_on(strict)
    with_second_factor(ann)

    for _ in range(5):
        assert_problem(attempt(ann, "192.0.2.1"), 401, "totp_required")
    for _ in range(3):
        assert_problem(attempt(ann, "192.0.2.1", totp_code="x"), 401, "invalid_credentials")
    assert attempt(ann, "192.0.2.1").status_code == 429


# --- the first run -------------------------------------------------------------------------------


def test_the_first_start_prints_an_admin_who_can_sign_in(start_server):
    server = start_server(env={"TESSERA_FIRST_RUN": "true"})
    wait_until(lambda: "password" in server.log_text(), 5, "the admin is printed")
    found = re.search(r"admin +(\S+)\n +password +(\S+)", server.log_text())

    admin = Person(server, found[1], found[2]).sign_in()

    assert admin.teams[0]["role"] == "owner"

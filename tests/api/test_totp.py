"""The second factor: enrolling, what it then demands, recovery codes, switching it off.

The codes are computed by harness/totp.py, not by the server.
"""

import base64
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from harness.client import Api, assert_problem
from harness.outside import (PASSWORD, SECRET, address, outsider, settings, signed)
from harness.people import Person
from harness.totp import code_at, now_step
from harness.wait import wait_until

CODE = re.compile(r"[a-z2-9]{5}-[a-z2-9]{5}")


def wrong_code(secret):
    """Six digits that no step around now has."""
    near = {code_at(secret, now_step() + d) for d in range(-3, 4)}
    return next(c for c in (f"{n:06d}" for n in range(10)) if c not in near)


@pytest.fixture(scope="module")
def totp_server(make_server):
    made = make_server(env={**settings(secret=SECRET, role="viewer"),
                            "TESSERA_SIGN_IN_LIMIT": "100000"})
    yield made
    made.close()


@pytest.fixture
def person(totp_server):
    """A user with a password and no second factor yet."""
    return outsider(totp_server)


def begin(person):
    reply = person.post("/v1/me/totp")
    assert reply.status_code == 200, reply.text
    return reply.json()["secret"]


def enrol(person):
    """(secret, recovery codes, the step that is used up)."""
    secret, step = begin(person), now_step() - 1    # the oldest one that is taken: later ones stay
    reply = person.post("/v1/me/totp/confirm", {"code": code_at(secret, step)})
    if reply.status_code == 422:                    # the clock went on to the next step meanwhile
        step = now_step() - 1
        reply = person.post("/v1/me/totp/confirm", {"code": code_at(secret, step)})
    assert reply.status_code == 200, reply.text
    return secret, reply.json()["recovery_codes"], step


# --- enrolling -----------------------------------------------------------------------------------


def test_begin_shows_the_secret_in_both_forms(person):
    reply = person.post("/v1/me/totp")

    made = reply.json()
    assert reply.status_code == 200 and reply.headers["Cache-Control"] == "no-store"
    assert re.fullmatch(r"[A-Z2-7]{32}", made["secret"])
    url = urlsplit(made["otpauth_url"])
    assert (url.scheme, url.netloc) == ("otpauth", "totp")
    assert url.path == "/Tessera:" + person.email.replace("@", "%40")
    assert parse_qs(url.query) == {"secret": [made["secret"]], "issuer": ["Tessera"],
                                   "algorithm": ["SHA1"], "digits": ["6"], "period": ["30"]}


def test_confirm_shows_ten_recovery_codes(person):
    _, codes, _ = enrol(person)

    assert len(set(codes)) == 10 and all(CODE.fullmatch(c) for c in codes)


def test_only_the_newest_secret_is_confirmed(person):
    first, second = begin(person), begin(person)

    assert first != second
    assert_problem(person.post("/v1/me/totp/confirm", {"code": code_at(first, now_step())}), 422,
                   "invalid_field", fields=["code"])
    assert person.post("/v1/me/totp/confirm",
                       {"code": code_at(second, now_step())}).status_code == 200


def test_a_wrong_code_confirms_nothing(person):
    secret = begin(person)

    reply = person.post("/v1/me/totp/confirm", {"code": wrong_code(secret)})

    assert_problem(reply, 422, "invalid_field", fields=["code"])
    assert_problem(person.post("/v1/me/recovery-codes", {"code": code_at(secret, now_step())}), 409,
                   "conflict")
    enrol(person)


def test_confirm_without_begin_is_409(person):
    assert_problem(person.post("/v1/me/totp/confirm", {"code": "000000"}), 409, "conflict")


def test_begin_and_confirm_are_409_when_it_is_on(person):
    enrol(person)

    assert_problem(person.post("/v1/me/totp"), 409, "conflict")
    assert_problem(person.post("/v1/me/totp/confirm", {"code": "000000"}), 409, "conflict")


@pytest.mark.parametrize("body", [{}, {"code": None}, {"code": "12345"}, {"code": "1234567"},
                                  {"code": 123456}])
def test_a_malformed_code_is_named(person, body):
    for path in ("/v1/me/totp/confirm", "/v1/me/recovery-codes"):
        assert_problem(person.post(path, body), 422, fields=["code"])


def test_a_user_without_a_password_has_no_second_factor_here(totp_server):
    person = Api(totp_server, signed(email=address(), email_verified=True))

    problem = assert_problem(person.post("/v1/me/totp"), 409, "conflict")
    assert "password" in problem["detail"]


def test_without_a_master_key_it_is_not_configured(start_server):
    server = start_server(env=settings(secret=SECRET), start=False)
    del server.env["TESSERA_MASTER_KEY"]
    server.start()
    person = outsider(server)

    problem = assert_problem(person.post("/v1/me/totp"), 409, "not_configured")
    assert "master_key" in problem["detail"]


def test_secrets_and_codes_are_not_kept_in_the_clear(start_server):
    server = start_server(env=settings(secret=SECRET))
    person = outsider(server)
    secret, codes, _ = enrol(person)
    raw = base64.b32decode(secret)
    server.stop()

    if server.backend == "sqlite":
        with open(server.db_path, "rb") as f:
            kept = f.read()
        assert b"totp_secret" in kept
        for text in (raw, secret.encode(), raw.hex().encode(), *(c.encode() for c in codes),
                     *(c.replace("-", "").encode() for c in codes)):
            assert text not in kept
    log = server.log_text()
    assert secret not in log and not any(c in log for c in codes)
    server.start()


# --- codes ---------------------------------------------------------------------------------------


def renew(person, code):
    return person.post("/v1/me/recovery-codes", {"code": code})


def test_a_code_works_once_and_older_ones_not_at_all(person):
    secret, _, used = enrol(person)
    assert_problem(renew(person, code_at(secret, used)), 422, fields=["code"])   # by confirming

    wait_until(lambda: renew(person, code_at(secret, now_step() + 1)).status_code == 200, 5,
               "the next step's code is taken")

    for step in (used, used + 1, now_step(), now_step() + 1):
        if step <= now_step() + 1:
            assert_problem(renew(person, code_at(secret, step)), 422, fields=["code"])


def test_codes_of_far_steps_are_wrong(person):
    secret, _, _ = enrol(person)

    for far in (-10, 10):
        assert_problem(renew(person, code_at(secret, now_step() + far)), 422, fields=["code"])


def test_new_recovery_codes_replace_the_old(person):
    secret, old, _ = enrol(person)

    new = renew(person, code_at(secret, now_step() + 1)).json()["recovery_codes"]

    assert len(set(new) | set(old)) == 20


def test_wrong_codes_are_limited_like_wrong_passwords(start_server):
    server = start_server(env={**settings(secret=SECRET), "TESSERA_SIGN_IN_LIMIT": "5"})
    person = outsider(server)
    secret = begin(person)

    replies = [person.post("/v1/me/totp/confirm", {"code": wrong_code(secret)}) for _ in range(6)]
    right = person.post("/v1/me/totp/confirm", {"code": code_at(secret, now_step())})

    assert [r.status_code for r in replies] == [422] * 5 + [429]
    assert_problem(right, 429, "rate_limit_exceeded")
    assert int(right.headers["Retry-After"]) > 0


def test_strangers_do_not_keep_the_known_browser_from_a_second_factor(start_server):
    server = start_server(env={**settings(secret=SECRET), "TESSERA_SIGN_IN_LIMIT": "3",
                               "TESSERA_TRUSTED_PROXIES": "127.0.0.1"})
    person = outsider(server)
    browser = Person(server, person.email, PASSWORD).sign_in()
    secret = begin(browser)
    guess = {"email": person.email, "password": "not the password"}
    got = [Api(server).post("/v1/sessions", guess, headers={"X-Forwarded-For": f"192.0.2.{i // 3}"})
           for i in range(31)]
    assert got[-1].status_code == 429

    body = {"code": wrong_code(secret)}
    assert person.post("/v1/me/totp/confirm", body).status_code == 429
    assert browser.post("/v1/me/totp/confirm", body).status_code == 422


# --- signing in ----------------------------------------------------------------------------------


def sign_in(server, person, **more):
    return Api(server).post("/v1/sessions", {"email": person.email, "password": PASSWORD, **more})


def test_signing_in_needs_a_fresh_code(totp_server, person):
    assert sign_in(totp_server, person).status_code == 201
    secret, _, used = enrol(person)

    assert_problem(sign_in(totp_server, person), 401, "totp_required")
    for code in (wrong_code(secret), code_at(secret, used)):
        assert_problem(sign_in(totp_server, person, totp_code=code), 401, "invalid_credentials")
    fresh = code_at(secret, now_step() + 1)
    assert sign_in(totp_server, person, totp_code=fresh).status_code == 201
    assert_problem(sign_in(totp_server, person, totp_code=fresh), 401, "invalid_credentials")


def test_a_recovery_code_signs_in_once_in_any_case(totp_server, person):
    _, codes, _ = enrol(person)

    def by(code):
        return sign_in(totp_server, person, recovery_code=code)

    assert by(codes[0].upper().replace("-", " ")).status_code == 201
    assert by(codes[1]).status_code == 201
    for code in (codes[0], codes[1], "22222-22222", codes[2] + "x", codes[2][:-1]):
        assert_problem(by(code), 401, "invalid_credentials")
    assert by(codes[2]).status_code == 201


def test_recovery_codes_of_another_user_do_nothing(totp_server, person):
    _, codes, _ = enrol(outsider(totp_server))
    enrol(person)

    assert_problem(sign_in(totp_server, person, recovery_code=codes[0]), 401,
                   "invalid_credentials")


def test_after_it_is_off_a_password_is_enough(totp_server, person):
    enrol(person)
    person.post("/v1/me/totp/disable", {"password": PASSWORD})

    assert sign_in(totp_server, person).status_code == 201


# --- off -----------------------------------------------------------------------------------------


def test_it_is_switched_off_by_the_password(person):
    enrol(person)

    wrong = person.post("/v1/me/totp/disable", {"password": PASSWORD + "x"})
    assert_problem(wrong, 422, "invalid_field", fields=["password"])
    assert person.post("/v1/me/totp/disable", {"password": PASSWORD}).status_code == 204

    assert_problem(person.post("/v1/me/totp/disable", {"password": PASSWORD}), 409, "conflict")
    enrol(person)


def test_the_command_line_switches_it_off(totp_server, person):
    enrol(person)

    assert "is off" in totp_server.cli("user", "totp-off", person.email.upper())

    assert person.post("/v1/me/totp").status_code == 200
    again = totp_server.run("user", "totp-off", person.email)
    assert again.returncode == 1 and "not on" in again.stderr
    unknown = totp_server.run("user", "totp-off", address())
    assert unknown.returncode == 1 and "no active user" in unknown.stderr


def test_every_change_is_in_the_audit_log_without_secrets(totp_server, person):
    secret, codes, _ = enrol(person)
    renew(person, code_at(secret, now_step() + 1))
    person.post("/v1/me/totp/disable", {"password": PASSWORD})
    owner = outsider(totp_server, "owner")
    newest = owner.get("/v1/audit?limit=1&action=user.totp_enable").json()["data"][0]
    user_id = newest["target_id"]

    reply = owner.get("/v1/audit", params={"target_id": user_id, "limit": 200})

    actions = [row["action"] for row in reply.json()["data"]]
    wanted = {"user.totp_enable", "user.totp_disable", "user.recovery_codes_renew"}
    assert wanted <= set(actions)
    assert secret not in reply.text and not any(c in reply.text for c in codes)


def test_a_missing_password_is_named(person):
    assert_problem(person.post("/v1/me/totp/disable", {}), 422, "missing_required_field",
                   fields=["password"])


# --- who -----------------------------------------------------------------------------------------


def test_keys_and_strangers_have_no_second_factor(totp_server):
    key = Api(totp_server, totp_server.new_token(scopes=["admin:full"])["token"])
    nobody = Api(totp_server)
    calls = [("/v1/me/totp", None), ("/v1/me/totp/confirm", {"code": "000000"}),
             ("/v1/me/totp/disable", {"password": "x"}),
             ("/v1/me/recovery-codes", {"code": "000000"})]

    for path, body in calls:
        assert_problem(key.post(path, body), 403, "user_required")
        assert_problem(nobody.post(path, body), 401, "missing_token")

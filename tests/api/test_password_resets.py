"""Reset links: printed by the command line, used once, and what they end."""

import re
import time

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.jobs import run_now
from harness.people import PASSWORD, Person, create_user, new_email, person_on
from harness.tenants import Tenant
from harness.wait import wait_until

NEW = "a new horse battery"
PATH = "/v1/password-resets"


def link(server, email):
    printed = server.cli("user", "reset-link", email)
    return re.search(r"(\S*/reset-password\?token=([\w-]{43}))\n", printed)


def confirm(server, token, password=NEW):
    return Api(server).post(PATH + "/confirm", {"token": token, "new_password": password})


def test_a_link_sets_a_new_password(server, new_person):
    ann = new_person()
    token = link(server, ann.email)[2]

    assert confirm(server, token).status_code == 204

    assert_problem(ann.get("/v1/me"), 401, "invalid_token")             # every session ended
    assert_problem(ann.try_sign_in(), 401, "invalid_credentials")
    ann.password = NEW
    ann.sign_in()


def test_a_link_works_once(server):
    token = link(server, create_user(server)["email"])[2]
    assert confirm(server, token).status_code == 204

    assert_problem(confirm(server, token, "yet another one"), 422, "invalid_field",
                   fields=["token"])


def test_a_used_link_ends_the_others(server):
    email = create_user(server)["email"]
    first, second = link(server, email)[2], link(server, email)[2]

    assert confirm(server, second).status_code == 204

    assert_problem(confirm(server, first), 422, fields=["token"])


def test_a_password_change_ends_the_links(server, new_person):
    ann = new_person()
    token = link(server, ann.email)[2]

    ann.post("/v1/me/password", {"current_password": PASSWORD, "new_password": NEW})

    assert_problem(confirm(server, token), 422, fields=["token"])


def test_a_link_holds_for_an_hour(server):
    made = create_user(server)
    token = link(server, made["email"])[2]
    assert truth.rows(server, "SELECT kind, expires_ms - created_ms FROM password_reset "
                              "WHERE user_id = ?", made["id"]) == [("reset", 3600_000)]
    truth.execute(server, "UPDATE password_reset SET expires_ms = ? WHERE user_id = ?",
                  int(time.time() * 1000), made["id"])

    assert_problem(confirm(server, token), 422, fields=["token"])


def test_a_disabled_users_link_ends(server):
    made = create_user(server)
    token = link(server, made["email"])[2]
    server.cli("user", "disable", made["email"])

    assert_problem(confirm(server, token), 422, fields=["token"])
    assert server.run("user", "reset-link", made["email"]).returncode == 1


@pytest.mark.parametrize("token", ["x", "A" * 43, "A" * 200, "'", "ü"])
def test_a_wrong_token_is_named(server, token):
    assert_problem(confirm(server, token), 422, "invalid_field", fields=["token"])


@pytest.mark.parametrize("body, field", [
    ({}, "token"), ({"token": "x"}, "new_password"), ({"token": "x" * 201}, "token"),
    ({"token": "x", "new_password": "eleven char"}, "new_password"),
    ({"token": "x", "new_password": "x" * 1001}, "new_password")])
def test_a_malformed_confirmation_is_named(server, body, field):
    assert_problem(Api(server).post(PATH + "/confirm", body), 422, fields=[field])


def test_the_token_is_kept_as_a_hash_only(server):
    made = create_user(server)
    token = link(server, made["email"])[2]

    kept = truth.rows(server, "SELECT * FROM password_reset WHERE user_id = ?", made["id"])

    assert len(kept) == 1 and token not in str(kept)


def test_the_link_leads_to_the_public_url(start_server):
    server = start_server(env={"TESSERA_PUBLIC_URL": "https://tessera.example.com/"})
    email = create_user(server)["email"]

    assert link(server, email)[1].startswith("https://tessera.example.com/reset-password?token=")


def test_a_reset_is_in_the_audit_log(server):
    team = Tenant(server)
    ann = person_on(server, "viewer", team.slug)
    confirm(server, link(server, ann.email)[2])

    rows = [r for r in team.audit() if r["action"].startswith("user.") and
            r["target_id"] == ann.user_id]

    assert [(r["action"], r["actor_kind"]) for r in rows] == [
        ("user.create", "cli"), ("user.reset_link", "cli"), ("user.password_reset", "user")]
    assert rows[-1]["ip"] == "127.0.0.1"


def test_the_second_factor_stays_after_a_reset(server, new_person):
    ann = new_person()
    truth.execute(server, "UPDATE app_user SET totp_secret = 'sealed' WHERE id = ?", ann.user_id)

    confirm(server, link(server, ann.email)[2])

    assert_problem(ann.try_sign_in(password=NEW), 401, "totp_required")


# --- asking --------------------------------------------------------------------------------------


def test_asking_is_answered_alike_for_everybody(server):
    known = create_user(server)["email"]

    replies = [Api(server).post(PATH, {"email": e}) for e in (known, new_email(), "no address")]

    assert {(r.status_code, r.text) for r in replies} == {
        (202, '{"message":"If there is such an account, a link is on its way to it"}')}


@pytest.mark.parametrize("body", [{}, {"email": ""}, {"email": None}, {"email": "x" * 255},
                                  {"email": "a@b\r\nc"}])
def test_a_malformed_question_is_named(server, body):
    assert_problem(Api(server).post(PATH, body), 422, fields=["email"])


def test_an_address_asks_so_often_and_no_more(start_server):
    server = start_server(env={"TESSERA_SIGN_IN_LIMIT": "3"})

    got = [Api(server).post(PATH, {"email": new_email()}).status_code for _ in range(4)]

    assert got == [202, 202, 202, 429]


def test_an_address_tries_so_many_tokens_and_no_more(start_server):
    server = start_server(env={"TESSERA_SIGN_IN_LIMIT": "1"})

    replies = [confirm(server, "x") for _ in range(11)]

    assert [r.status_code for r in replies] == [422] * 10 + [429]
    assert int(replies[-1].headers["Retry-After"]) > 0


def test_ended_links_are_dropped(start_server):
    server = start_server()
    link(server, create_user(server)["email"])
    truth.execute(server, "UPDATE password_reset SET expires_ms = 1")

    run_now(server, "sessions.purge")

    wait_until(lambda: truth.rows(server, "SELECT * FROM password_reset") == [], 10, "a purge")


def test_an_unanswered_mail_server_does_not_slow_signing_in(start_server):
    """The setting alone; sending is in test_mail."""
    server = start_server(env={"TESSERA_SMTP_URL": "smtp://127.0.0.1:1",
                               "TESSERA_SMTP_FROM": "tessera@example.com",
                               "TESSERA_PUBLIC_URL": "https://tessera.example.com"})
    made = create_user(server)

    assert Api(server).post(PATH, {"email": made["email"]}).status_code == 202

    Person(server, made["email"]).sign_in()

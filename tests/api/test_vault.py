"""Stored secrets and their keys: rotation beside a running server, a new master key, databases from
before the vault, texts that do not open."""

import base64
import json
import threading

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.enrolled import Enrolled
from harness.people import Person, create_user
from harness.sealed import v1_recovery_hash, v1_text
from harness.server import MASTER_KEY
from harness.totp import code_at, now_step
from harness.wait import wait_until

NEW_KEY = "77" * 32
SEALED = ("SELECT totp_secret FROM app_user WHERE totp_secret IS NOT NULL UNION ALL "
          "SELECT secret FROM totp_pending")


def status(server):
    return server.cli_json("vault", "status")


def rotate(server, *args, wanted=0):
    """The lines of one run."""
    done = server.run("vault", "rotate", *args, "--json")
    assert done.returncode == wanted, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def texts(server):
    return [row[0] for row in truth.rows(server, SEALED)]


def column(server, name):
    return next(c for c in status(server)["columns"] if c["column_name"] == name)


def restart(server, master, previous=None):
    server.stop()
    server.env["TESSERA_MASTER_KEY"] = master
    server.env.pop("TESSERA_MASTER_KEY_PREVIOUS", None)
    if previous:
        server.env["TESSERA_MASTER_KEY_PREVIOUS"] = previous
    server.start()


# --- data keys -----------------------------------------------------------------------------------


def test_secrets_open_before_during_and_after_a_rotation(fresh_server):
    people = [Enrolled(fresh_server) for _ in range(3)]
    begun = Person(fresh_server, create_user(fresh_server)["email"]).sign_in()
    pending = begun.post("/v1/me/totp").json()["secret"]
    before = texts(fresh_server)

    done = rotate(fresh_server, "--batch", "1")

    assert [d["resealed"] for d in done] == [4] and done[0]["retired_versions"] == 1
    assert not set(before) & set(texts(fresh_server))
    for person in people:
        person.opens()
        person.recovers()
    reply = begun.post("/v1/me/totp/confirm", {"code": code_at(pending, now_step())})
    assert reply.status_code == 200, reply.text
    found = column(fresh_server, "totp_secret")
    assert (found["texts"], found["active"]) == (4, 4)


def test_a_rotation_beside_users_who_enrol_loses_nothing(fresh_server):
    people, stop, failed = [], threading.Event(), []

    def enrol():
        try:
            while not stop.is_set():
                people.append(Enrolled(fresh_server))
        except BaseException as e:      # told by the test below
            failed.append(e)
    threads = [threading.Thread(target=enrol) for _ in range(2)]
    for t in threads:
        t.start()
    wait_until(lambda: people or failed, 20, "the first user has enrolled")
    for _ in range(8):
        rotate(fresh_server, "--batch", "1")
    stop.set()
    for t in threads:
        t.join()

    assert not failed, failed
    rotate(fresh_server)
    found = column(fresh_server, "totp_secret")
    assert found["texts"] == found["active"] == len(people)
    states = [k["state"] for k in status(fresh_server)["keys"] if k["purpose"] == "data"]
    assert sorted(set(states)) == ["active", "retired"] and states.count("active") == 1
    for person in people[:3]:
        person.opens()


def test_a_dry_run_says_what_would_be_done_and_changes_nothing(fresh_server):
    Enrolled(fresh_server)
    before, keys = texts(fresh_server), status(fresh_server)

    done = rotate(fresh_server, "--dry-run")

    assert done == [{"team_id": "", "version": 2, "resealed": 1, "quarantined": 0,
                     "retired_versions": 0, "kept_versions": 0, "resumed": False, "dry_run": True}]
    assert texts(fresh_server) == before and status(fresh_server) == keys
    assert "would be sealed anew" in fresh_server.cli("vault", "rotate", "--dry-run")


def test_a_rotation_is_in_the_audit_log(fresh_server):
    Enrolled(fresh_server)
    rotate(fresh_server)

    found = truth.rows(fresh_server, "SELECT actor_kind, target_type FROM audit_log "
                                     "WHERE action = 'vault.rotate'")
    assert found == [("cli", "vault_key")]
    assert "intact" in fresh_server.cli("audit", "verify")


# --- the master key ------------------------------------------------------------------------------


def test_another_master_key_ends_the_start_and_names_both(fresh_server):
    mine = status(fresh_server)["master_key_id"]
    fresh_server.stop()
    for args in (["serve"], ["token", "list"], ["vault", "status"]):
        done = fresh_server.run(*args, env={"TESSERA_MASTER_KEY": NEW_KEY})
        assert done.returncode == 1
        assert f"with id {mine}" in done.stderr and "master_key has id" in done.stderr
    fresh_server.start()


def test_a_new_master_key_while_all_goes_on(fresh_server):
    person = Enrolled(fresh_server)
    key = Api(fresh_server, fresh_server.new_token(scopes=["admin:full"])["token"])
    for n in range(3):
        key.create_v1(f"ticket {n}")
    cursor = key.list_v1(limit=1)["next_cursor"]
    before, id_before = texts(fresh_server), status(fresh_server)["master_key_id"]

    restart(fresh_server, NEW_KEY, MASTER_KEY)
    person.opens()
    assert status(fresh_server)["keys_under_previous"] == 4
    dry = rotate(fresh_server, "--master", "--dry-run")[0]
    assert dry["rewrapped"] == 4 and status(fresh_server)["keys_under_previous"] == 4
    done = rotate(fresh_server, "--master")[0]
    assert (done["rewrapped"], done["resealed"], done["quarantined"]) == (4, 0, 0)
    restart(fresh_server, NEW_KEY)

    person.opens()
    person.recovers()
    assert len(key.list_v1(limit=1, cursor=cursor)["data"]) == 1
    assert texts(fresh_server) == before          # a secret is not touched
    assert status(fresh_server)["master_key_id"] != id_before
    checks = json.loads(fresh_server.cli("audit", "verify", "--json"))
    assert checks and all(c["intact"] and not c["unkeyed_rows"] for c in checks)
    assert rotate(fresh_server, "--master")[0]["rewrapped"] == 0
    old = fresh_server.run("vault", "status", env={"TESSERA_MASTER_KEY": MASTER_KEY})
    assert old.returncode == 1


def test_a_key_made_under_the_old_master_key_is_taken_along_by_the_next_run(fresh_server):
    """The running server still has the old key and makes one, when the others have changed."""
    fresh_server.env.update(TESSERA_MASTER_KEY=NEW_KEY, TESSERA_MASTER_KEY_PREVIOUS=MASTER_KEY)
    assert rotate(fresh_server, "--master")[0]["rewrapped"] == 3
    person = Enrolled(fresh_server)
    assert status(fresh_server)["keys_under_previous"] == 1

    assert rotate(fresh_server, "--master")[0]["rewrapped"] == 1

    restart(fresh_server, NEW_KEY)
    person.opens()


# --- from before the vault -----------------------------------------------------------------------


def back_before_the_vault(server, person):
    """What the program left in the database before it had a vault."""
    server.stop()
    truth.execute(server, "DELETE FROM vault_key")
    truth.execute(server, "UPDATE app_user SET totp_secret = ? WHERE id = ?",
                  v1_text(MASTER_KEY, "app_user", "totp_secret", person.id,
                          base64.b32decode(person.secret)), person.id)
    truth.execute(server, "DELETE FROM recovery_code WHERE user_id = ?", person.id)
    for code in person.codes:
        truth.execute(server, "INSERT INTO recovery_code (user_id, code_hash, created_ms) "
                      "VALUES (?, ?, 1)", person.id, v1_recovery_hash(MASTER_KEY, person.id, code))


@pytest.mark.parametrize("way", ["data key", "master key", "both at once"])
def test_secrets_from_before_the_vault_open_and_come_along(fresh_server, way):
    person = Enrolled(fresh_server)
    back_before_the_vault(fresh_server, person)
    if way == "both at once":
        fresh_server.env.update(TESSERA_MASTER_KEY=NEW_KEY, TESSERA_MASTER_KEY_PREVIOUS=MASTER_KEY)
    fresh_server.start()
    person.opens()
    person.recovers()
    assert column(fresh_server, "totp_secret")["v1"] == 1

    if way == "master key":
        restart(fresh_server, NEW_KEY, MASTER_KEY)
    done = rotate(fresh_server, *([] if way == "data key" else ["--master"]))

    assert done[0]["resealed"] == 1
    found = column(fresh_server, "totp_secret")
    assert (found["v1"], found["active"]) == (0, 1)
    if way != "data key":
        restart(fresh_server, NEW_KEY)
    person.opens()
    person.recovers()


# --- what does not open --------------------------------------------------------------------------


def test_a_text_that_does_not_open_is_left_as_it_is_and_told(fresh_server):
    good, bad = Enrolled(fresh_server), Enrolled(fresh_server)
    truth.execute(fresh_server, "UPDATE app_user SET totp_secret = (SELECT u.totp_secret FROM "
                  "app_user u WHERE u.id = ?) WHERE id = ?", good.id, bad.id)
    moved = truth.value(fresh_server, "SELECT totp_secret FROM app_user WHERE id = ?", bad.id)
    reply = bad.sign_in(totp_code="123456")
    assert reply.status_code == 500 and "vault.does_not_open" in fresh_server.log_text()

    done = rotate(fresh_server, wanted=1)[0]

    assert (done["resealed"], done["quarantined"], done["kept_versions"]) == (1, 1, 1)
    assert moved == truth.value(fresh_server, "SELECT totp_secret FROM app_user WHERE id = ?",
                                bad.id)
    found = status(fresh_server)
    assert found["quarantine_total"] == 1
    assert found["quarantine"][0] == {"team_id": "", "table_name": "app_user",
                                      "column_name": "totp_secret", "row_id": bad.id,
                                      "reason": "damaged", "at": found["quarantine"][0]["at"]}
    assert "1 secrets do not open" in fresh_server.run("vault", "rotate").stderr
    good.opens()

    fresh_server.cli("user", "totp-off", bad.email)
    assert rotate(fresh_server)[0]["retired_versions"] == 2
    assert status(fresh_server)["quarantine_total"] == 0


# --- without, and wrong use ----------------------------------------------------------------------


def test_without_a_master_key_secrets_are_refused_clearly(fresh_server):
    person = Enrolled(fresh_server)
    fresh_server.stop()
    del fresh_server.env["TESSERA_MASTER_KEY"]
    fresh_server.start()

    problem = assert_problem(person.sign_in(totp_code="123456"), 409, "not_configured")
    assert "master_key" in problem["detail"]
    for args in (["vault", "rotate"], ["vault", "rotate", "--master"]):
        done = fresh_server.run(*args)
        assert done.returncode == 1 and "master_key" in done.stderr
    found = status(fresh_server)
    assert found["master_key_id"] is None and found["keys_total"] == 4
    previous = fresh_server.run("vault", "status", env={"TESSERA_MASTER_KEY_PREVIOUS": MASTER_KEY})
    assert previous.returncode == 2 and "master_key_previous" in previous.stderr


@pytest.mark.parametrize("args, word", [
    (["--batch", "0"], "--batch"), (["--batch", "1001"], "--batch"), (["--batch", "x"], "--batch"),
    (["--master", "--team", "default"], "--team")])
def test_a_wrong_use_is_told(server, args, word):
    done = server.run("vault", "rotate", *args)
    assert done.returncode == 2 and word in done.stderr


def test_one_team_is_rotated_by_its_name(server):
    assert "no secrets" in server.cli("vault", "rotate", "--team", "default")
    done = server.run("vault", "rotate", "--team", "no-such-team")
    assert done.returncode == 1 and "no team" in done.stderr


def test_the_status_shows_no_key(fresh_server):
    Enrolled(fresh_server)
    wrapped = [row[0] for row in truth.rows(fresh_server, "SELECT wrapped FROM vault_key")]

    text = fresh_server.cli("vault", "status") + fresh_server.cli("vault", "status", "--json")

    assert len(wrapped) == 4 and not any(w in text for w in wrapped)
    assert fresh_server.env["TESSERA_MASTER_KEY"] not in text

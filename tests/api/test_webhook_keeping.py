"""Around deliveries: mails to owners and admins, retention, secrets that do not open."""

import contextlib
import time

import pytest
from harness import truth
from harness.hooks import (attempts, deliveries, new_ticket, new_webhook, wait_deliveries, wait_over,
                           webhook_row)
from harness.inbox import URL, Inbox, Loopback, parsed, settings
from harness.jobs import run_now
from harness.people import create_user
from harness.receiver import Receiver
from harness.server import MASTER_KEY
from harness.tenants import Tenant
from harness.wait import wait_until

DAY_MS = 86400 * 1000
QUICK = {"TESSERA_WEBHOOK_WAIT_PERCENT": "1"}


@pytest.fixture
def receiver():
    with Receiver() as made:
        yield made


@pytest.fixture
def inbox():
    made = Inbox()
    controller = Loopback(made)
    controller.start()
    made.port = controller.port
    yield made
    controller.stop()


def text_of(envelope):
    return parsed(envelope).get_content().replace("\r\n", "\n")


def test_owners_and_admins_are_mailed_while_it_fails_and_when_it_is_disabled(make_server, receiver,
                                                                             inbox):
    env = {**QUICK, **settings(inbox.port)}
    with contextlib.closing(make_server(env)) as server:
        team = Tenant(server)
        people = [create_user(server, role, team.slug)["email"]
                  for role in ("owner", "admin", "agent")]
        receiver.answers["/hook"] = 500
        hook = new_webhook(team, receiver.url())
        now = int(time.time() * 1000)
        truth.execute(server, "UPDATE webhook SET failing_ms = ? WHERE id = ?",
                      now - int(2.6 * DAY_MS), hook["id"])

        new_ticket(team)

        inbox.wait(2)
        mails = {m.rcpt_tos[0]: m for m in inbox.mails}
        assert set(mails) == set(people[:2])
        assert parsed(mails[people[0]])["Subject"] == "A webhook is failing"
        assert receiver.url() in text_of(mails[people[0]]) and "50 percent" in text_of(
            mails[people[0]])
        assert URL in text_of(mails[people[1]])

        inbox.mails.clear()
        truth.execute(server, "UPDATE webhook SET failing_ms = ? WHERE id = ?", now - 6 * DAY_MS,
                      hook["id"])
        new_ticket(team)

        inbox.wait(2)
        assert {parsed(m)["Subject"] for m in inbox.mails} == {"A webhook was disabled"}
        assert webhook_row(server, hook, "state") == ("disabled",)


def test_gone_is_mailed_too(make_server, receiver, inbox):
    with contextlib.closing(make_server({**QUICK, **settings(inbox.port)})) as server:
        team = Tenant(server)
        create_user(server, "owner", team.slug)
        receiver.answers["/hook"] = 410
        new_webhook(team, receiver.url())

        new_ticket(team)

        assert "410" in text_of(inbox.wait())


def test_old_deliveries_attempts_and_events_go_and_others_stay(fresh_server, receiver):
    server, team = fresh_server, Tenant(fresh_server)
    hook = new_webhook(team, receiver.url())
    new_ticket(team)
    wait_over(server, hook)
    receiver.answers["/hook"] = 500
    new_ticket(team)
    wait_deliveries(server, hook, lambda rows: len(rows) == 2 and rows[1]["attempt"])
    long_ago = int(time.time() * 1000) - 31 * DAY_MS
    truth.execute(server, "UPDATE webhook_delivery SET finished_ms = ?, created_ms = ? WHERE "
                          "state = 'delivered'", long_ago, long_ago)
    first = deliveries(server, hook)[0]
    truth.execute(server, "UPDATE event SET at_ms = ? WHERE id = ?", long_ago, first["event_id"])

    run_now(server, "webhooks.sweep")

    wait_until(lambda: len(deliveries(server, hook)) == 1, 10, "the old one goes")
    [left] = deliveries(server, hook)
    assert left["state"] == "waiting" and attempts(server, left)
    wait_until(lambda: not truth.value(server, "SELECT count(*) FROM event WHERE id = ?",
                                       first["event_id"]), 5, "its event goes")
    assert not attempts(server, first)
    assert truth.value(server, "SELECT count(*) FROM event WHERE id = ?", left["event_id"]) == 1


def test_what_a_deleted_webhook_left_goes(fresh_server, receiver):
    server, team = fresh_server, Tenant(fresh_server)
    hook, other = new_webhook(team, receiver.url()), new_webhook(team, receiver.url("/other"))
    new_ticket(team)
    [row] = wait_over(server, hook)
    wait_over(server, other)
    assert team.api.delete(f"/v1/webhooks/{hook['id']}").status_code == 204

    run_now(server, "webhooks.sweep")

    wait_until(lambda: not truth.value(server, "SELECT count(*) FROM webhook WHERE id = ?",
                                       hook["id"]), 10, "the row goes")
    assert not deliveries(server, hook) and not attempts(server, row)
    assert len(deliveries(server, other)) == 1


def test_secrets_that_do_not_open_keep_deliveries_waiting(make_server, receiver):
    with contextlib.closing(make_server()) as server:
        team = Tenant(server)
        hook = new_webhook(team, receiver.url())
        sealed = truth.rows(server, "SELECT id, secret FROM webhook_secret")
        truth.execute(server, "UPDATE webhook_secret SET secret = 'v1.damaged'")
        new_ticket(team)
        wait_until(lambda: "webhook.secrets_closed" in server.log_text(), 5, "it is told")

        wait_deliveries(server, hook, lambda rows: [(r["state"], r["attempt"]) for r in rows] ==
                        [("waiting", 0)])
        assert MASTER_KEY not in server.log_text()
        for secret_id, text in sealed:
            truth.execute(server, "UPDATE webhook_secret SET secret = ? WHERE id = ?", text,
                          secret_id)
        truth.execute(server, "UPDATE webhook_lane SET wake_ms = 1")
        wait_over(server, hook)
        assert receiver.wait(1)[0].signed_by(hook["secret"])

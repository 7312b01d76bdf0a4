"""API keys that end soon: who is mailed, when, how often; what webhooks are told."""

import contextlib
import json
import time
import uuid

import pytest
from harness import truth
from harness.inbox import Inbox, Loopback, parsed, settings
from harness.jobs import run_now, wait_rest
from harness.people import create_user
from harness.server import Server
from harness.tenants import Tenant
from harness.wait import wait_until

DAY = 86400 * 1000
LOOK = "api_key.remind"


@pytest.fixture(scope="module")
def post():
    inbox = Inbox()
    made = Loopback(inbox)
    made.start()
    yield inbox, made.port
    made.stop()


@pytest.fixture(scope="module")
def mailing_server(make_server, post):
    server = make_server(settings(post[1]))
    yield server
    server.close()


@pytest.fixture
def inbox(post):
    post[0].mails.clear()
    post[0].refused.clear()
    return post[0]


@pytest.fixture
def team(mailing_server, inbox):
    """A team with an owner, an admin and an agent, and a webhook."""
    return staffed(mailing_server)


def staffed(server):
    made = Tenant(server, "Größe & Co")
    made.owner, made.admin, made.agent = (
        create_user(server, role, made.slug)["email"] for role in ("owner", "admin", "agent"))
    truth.execute(server, "INSERT INTO webhook (team_id, id, url, events, header_names, payload, "
                  "is_ordered, state, notice, version, created_ms, updated_ms) VALUES (?, ?, "
                  "'https://hooks.acme.example/', '[\"api_key.*\"]', '[]', 'full', 0, 'enabled', 0, "
                  "1, 1, 1)", made.id, str(uuid.uuid4()))
    return made


def key(team, days, name="Shop", lived=80):
    """A key that ends in so many days and was made `lived` days ago; its id."""
    made = team.api.post("/v1/api-keys", {"name": name, "expires_in_days": 90}).json()["id"]
    move(team, made, days)
    truth.execute(team.server, "UPDATE integration_tokens SET created_ms = ? WHERE id = ?",
                  int(time.time() * 1000 - lived * DAY), made)
    return made


def move(team, key_id, days):
    truth.execute(team.server, "UPDATE integration_tokens SET expires_ms = ? WHERE id = ?",
                  int(time.time() * 1000 + days * DAY), key_id)


def look(server):
    """The server has looked, and every mail of it is sent."""
    run_now(server, LOOK)
    wait_until(lambda: truth.value(server, "SELECT next_ms FROM job_kind WHERE kind = ?", LOOK) > 1,
               10, "it begins")
    wait_rest(server)
    wait_until(lambda: not truth.value(server, "SELECT count(*) FROM job WHERE kind = 'api_key.mail' "
                                       "AND state IN ('ready', 'running') AND attempt = 0"), 10,
               "what it has found is sent")
    wait_until(lambda: not truth.value(server, "SELECT count(*) FROM job WHERE kind = 'api_key.mail' "
                                       "AND state = 'running'"), 10, "what it has found is sent")


def mailed(inbox):
    return sorted(m.rcpt_tos[0] for m in inbox.mails)


def told(team):
    """The keys of the events api_key.expiring of the team."""
    return [json.loads(row[0])["id"] for row in truth.rows(
        team.server, "SELECT data FROM event WHERE team_id = ? AND type = 'api_key.expiring' "
        "ORDER BY seq", team.id)]


def test_owners_and_admins_are_mailed_seven_days_and_one_day_before(team, inbox):
    soon = key(team, 6.5)
    key(team, 8)

    look(team.server)
    assert mailed(inbox) == sorted([team.owner, team.admin]) and told(team) == [soon]
    message = parsed(inbox.mails[0])
    text = message.get_content()
    assert message["Subject"] == "An API key ends soon: Shop"
    assert "Größe & Co" in text and "Shop" in text and "stk_" in text
    look(team.server)
    assert len(inbox.mails) == 2

    move(team, soon, 6.4)
    look(team.server)
    assert len(inbox.mails) == 4 and told(team) == [soon] * 2     # another end: told anew
    move(team, soon, 0.9)
    look(team.server)
    look(team.server)
    assert len(inbox.mails) == 6 and told(team) == [soon] * 3


def test_one_mail_tells_of_all_keys(team, inbox):
    made = {key(team, 3, name=f"Shop {i}") for i in range(3)}

    look(team.server)

    assert len(inbox.mails) == 2 and set(told(team)) == made
    message = parsed(inbox.mails[0])
    assert message["Subject"] == "3 API keys end soon"
    assert all(f"Shop {i}" in message.get_content() for i in range(3))


def test_keys_that_are_off_or_live_shortly_are_left_out(team, inbox):
    key(team, 6, lived=0.5)         # made for less than a week
    gone = key(team, 6)
    team.api.post(f"/v1/api-keys/{gone}/disable")
    key(team, -1)

    look(team.server)

    assert not inbox.mails and not told(team)


def test_a_mail_that_is_refused_goes_out_later_and_the_others_once(team, inbox):
    inbox.refused[team.owner] = "451 later"
    key(team, 6)
    look(team.server)
    assert mailed(inbox) == [team.admin]

    inbox.refused.clear()
    truth.execute(team.server, "UPDATE job SET due_ms = 1 WHERE kind = 'api_key.mail' AND "
                  "state = 'ready'")
    truth.execute(team.server, "UPDATE job_lane SET wake_ms = 0 WHERE kind = 'api_key.mail'")
    inbox.wait(2)
    look(team.server)

    assert mailed(inbox) == sorted([team.owner, team.admin])


def test_who_lost_the_role_meanwhile_is_told_nothing(team, inbox):
    inbox.refused[team.admin] = "451 later"
    key(team, 6)
    look(team.server)
    truth.execute(team.server, "UPDATE team_member SET role = 'agent' WHERE team_id = ? AND user_id "
                  "= (SELECT id FROM app_user WHERE email = ?)", team.id, team.admin)
    inbox.refused.clear()
    truth.execute(team.server, "UPDATE job SET due_ms = 1 WHERE kind = 'api_key.mail' AND "
                  "state = 'ready'")
    truth.execute(team.server, "UPDATE job_lane SET wake_ms = 0 WHERE kind = 'api_key.mail'")
    wait_until(lambda: not truth.value(team.server, "SELECT count(*) FROM job WHERE kind = "
                                       "'api_key.mail' AND team_id = ? AND state IN ('ready', "
                                       "'running')", team.id), 10, "the job is over")

    assert mailed(inbox) == [team.owner]


def test_without_a_mail_server_webhooks_are_told(fresh_server):
    team = staffed(fresh_server)
    soon = key(team, 6)

    look(fresh_server)
    look(fresh_server)

    assert told(team) == [soon]
    assert not truth.value(fresh_server, "SELECT count(*) FROM job WHERE kind = 'api_key.mail'")


def test_what_was_told_is_forgotten_some_time_after_the_end(team, inbox):
    gone = key(team, 6)
    look(team.server)
    truth.execute(team.server, "UPDATE key_reminder SET expires_ms = expires_ms - ? WHERE "
                  "key_id = ?", 37 * DAY, gone)
    move(team, gone, -31)

    look(team.server)

    assert not truth.value(team.server, "SELECT count(*) FROM key_reminder WHERE key_id = ?", gone)


@pytest.mark.only_backend("postgres")
def test_two_nodes_tell_once(make_server, post, inbox):
    first = make_server(settings(post[1]))
    second = Server("postgres", first.database, env=settings(post[1]))
    with contextlib.closing(first), contextlib.closing(second):
        second.start()
        team = staffed(first)
        made = {key(team, 6, name=f"Shop {i}") for i in range(4)}

        look(first)
        look(first)

        assert mailed(inbox) == sorted([team.owner, team.admin]) and set(told(team)) == made
        assert len(told(team)) == 4

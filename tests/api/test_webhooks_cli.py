"""`tessera webhooks …` beside a running server, which sends what the command line asks for."""

import base64

import pytest
from harness import truth
from harness.jobs import state_of
from harness.server import Refused
from harness.tenants import Tenant
from harness.verifier import Verifier
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture(scope="module")
def receiver():
    made = Verifier()
    yield made
    made.close()


@pytest.fixture
def team(server):
    return Tenant(server)


@pytest.fixture
def hook(team, receiver):
    """A webhook at a place of the receiver that is named as the team."""
    receiver.treat(team.slug, secrets=[SECRET])
    reply = team.api.post("/v1/webhooks", {"url": receiver.url(team.slug), "secret": SECRET,
                                           "events": ["ticket.created"], "description": "CRM"})
    assert reply.status_code == 201, reply.text
    return reply.json()


def shown(team, *words):
    return team.server.cli_json("webhooks", *words, "--team", team.slug)


def test_webhooks_are_listed_and_shown_as_in_the_api(team, hook):
    api = team.api.get(f"/v1/webhooks/{hook['id']}").json()

    assert shown(team, "list") == [api] and shown(team, "show", hook["id"]) == api
    text = team.server.cli("webhooks", "show", hook["id"], "--team", team.slug)
    values = dict(line.split(None, 1) for line in text.splitlines())
    assert set(values) == {name for name in api if api[name] is not None}
    assert values["url"] == hook["url"] and "CRM" in text and SECRET not in text
    line = team.server.cli("webhooks", "list", "--team", team.slug)
    assert hook["id"] in line and "enabled" in line and "never" in line and hook["url"] in line
    assert shown(team, "list", "--state", "disabled") == []


def test_the_longest_name_of_a_member_stands_apart_from_its_value(team, hook):
    text = team.server.cli("webhooks", "recover", hook["id"], "--from", "-1h", "--team", team.slug)
    assert dict(line.split(None, 1) for line in text.splitlines())["cancel_requested"] == "false"


def test_a_test_from_the_command_line_arrives(team, hook, receiver):
    made = shown(team, "test", hook["id"], "--event-type", "contact.deleted")

    (came,) = receiver.wait(team.slug, 1)

    assert came.id == made["event_id"] and came.body["type"] == "contact.deleted"
    assert came.is_verified() and came.body["actor"]["kind"] == "cli"


def test_disabling_and_enabling_are_in_the_audit_log(team, hook):
    assert shown(team, "disable", hook["id"])["state"] == "disabled"
    with pytest.raises(Refused) as refused:
        shown(team, "test", hook["id"])
    assert refused.value.returncode == 1 and "disabled" in refused.value.stderr
    assert shown(team, "enable", hook["id"])["state"] == "enabled"

    rows = [r for r in team.audit() if r["action"] in ("webhook.disable", "webhook.enable")]
    assert [(r["action"], r["actor_kind"]) for r in rows] == [("webhook.disable", "cli"),
                                                              ("webhook.enable", "cli")]


def test_what_was_sent_is_sent_again(team, hook, receiver):
    team.api.post("/v1/tickets", {"title": "one"})
    (first,) = receiver.wait(team.slug, 1)
    path = f"/v1/webhooks/{hook['id']}/deliveries"
    done = wait_until(lambda: [d for d in team.api.get(path).json()["data"]
                               if d["state"] == "delivered"], 10, "it is delivered")[0]

    again = shown(team, "replay", hook["id"], "--delivery", done["id"])
    assert again["replay"] is True
    job = shown(team, "replay", hook["id"], "--from", "-1h", "--event-type", "ticket.created")
    nothing = shown(team, "replay", hook["id"], "--from", "-1h", "--state", "failed")
    assert (job["kind"], job["payload"]["event_types"]) == ("webhook.replay", ["ticket.created"])
    assert nothing["payload"]["state"] == ["failed"]

    came = receiver.wait(team.slug, 3)
    assert {c.id for c in came} == {first.id}
    wait_until(lambda: state_of(team.server, nothing["id"]) == "done", 10, "the other job is over")


def test_what_was_missed_is_recovered(team, hook, receiver):
    shown(team, "disable", hook["id"])
    team.api.post("/v1/tickets", {"title": "missed"})
    wait_until(lambda: truth.value(team.server, "SELECT count(*) FROM event WHERE team_id = ? AND "
                                   "is_new = 1", team.id) == 0, 10, "the event is given out")
    shown(team, "enable", hook["id"])

    assert shown(team, "recover", hook["id"], "--from", "-10m")["payload"]["recover"] is True

    (came,) = receiver.wait(team.slug, 1)
    assert came.body["data"]["title"] == "missed" and came.is_verified()


@pytest.mark.parametrize("words, says", [
    (["show", ABSENT], "Webhook not found"), (["show", "x"], "UUID"),
    (["replay", ABSENT], "from"), (["replay", ABSENT, "--from", "yesterday"], "from"),
    (["recover", ABSENT, "--from", "-20d"], "Webhook not found"),
    (["list", "--state", "x"], "state"), (["test", ABSENT], "Webhook not found"),
])
def test_what_cannot_be_is_refused_with_a_word(team, words, says):
    with pytest.raises(Refused) as refused:
        shown(team, *words)

    assert refused.value.returncode == 1 and says in refused.value.stderr


def test_a_range_that_is_too_long_is_refused(team, hook):
    with pytest.raises(Refused) as refused:
        shown(team, "recover", hook["id"], "--from", "-20d")

    assert "14 days" in refused.value.stderr


def test_another_teams_webhook_is_not_found(team, hook):
    other = Tenant(team.server)
    with pytest.raises(Refused) as refused:
        shown(other, "show", hook["id"])

    assert "Webhook not found" in refused.value.stderr

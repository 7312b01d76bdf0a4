"""`tessera integrations …`: what the API shows and does, beside a running server."""

import json

import pytest
from harness.senders import Sender
from harness.server import Refused
from harness.tenants import Tenant
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"


@pytest.fixture
def team(server):
    return Tenant(server)


def run(team, *words):
    return team.server.cli("integrations", *words, "--team", team.slug)


def run_json(team, *words):
    return json.loads(run(team, *words, "--json"))


def test_integrations_are_listed_and_shown_as_in_the_api(team):
    one, other = Sender(team), Sender(team, "slack", secret="")
    assert run_json(team, "list") == team.api.get("/v1/integrations").json()["data"]
    assert run_json(team, "list", "--kind", "slack") == [other.read()]
    assert run_json(team, "show", one.id) == one.read()
    lines = run(team, "list").splitlines()
    assert [line.split()[:2] for line in lines] == [[one.id, "github"], [other.id, "slack"]]
    assert "no secret" in lines[1] and "no secret" not in lines[0]
    assert one.secret not in run(team, "show", one.id)


def test_the_log_is_listed_and_replayed(team):
    sender = Sender(team)
    for kind in ("issues", "push"):
        assert sender.send(type=kind).status_code == 200
    wait_until(lambda: len(sender.logs(state="processed")) == 2, 5, "both are processed")
    assert run_json(team, "log", sender.id) == sender.logs()[::-1]
    [row] = run_json(team, "log", sender.id, "--event-type", "issues", "--state", "processed")
    assert row["id"] in run(team, "log", sender.id)

    assert run_json(team, "replay", sender.id, "--event", row["id"])["kind"] == "hook.process"
    wait_until(lambda: [r["replays"] for r in sender.logs(state="processed")] == [1, 0], 5,
               "one is processed again")
    assert "hook.replay" in run(team, "replay", sender.id)
    wait_until(lambda: [r["replays"] for r in sender.logs(state="processed")] == [2, 1], 5,
               "both are processed again")
    assert [r["actor_kind"] for r in team.audit(action="webhook_log.replay")] == ["cli"]


def test_what_is_disabled_takes_nothing_at_once(team):
    sender = Sender(team)
    assert run_json(team, "disable", sender.id)["enabled"] is False
    assert sender.send().status_code == 404
    assert "enabled" in run(team, "enable", sender.id)
    assert sender.send().status_code == 200


@pytest.mark.parametrize("words", [("show", ABSENT), ("log", ABSENT), ("enable", ABSENT),
                                   ("replay", ABSENT), ("show", "x"), ("list", "--kind", "x")])
def test_what_cannot_be_is_refused(team, words):
    with pytest.raises(Refused):
        run(team, *words)


def test_anothers_integration_is_not_found(team, server):
    sender = Sender(Tenant(server))
    with pytest.raises(Refused):
        run(team, "show", sender.id)

"""Syncs of a team in tests."""

from .senders import Sender

URL = "/v1/syncs"
TITLE = {"local_field": "title", "remote_field": "summary", "bidirectional": True,
         "transformer": None}
STATE = {"local_field": "status", "remote_field": "state", "bidirectional": False,
         "transformer": "lower"}


def new_integration(team):
    return Sender(team, secret="").id


def new_sync(team, integration_id=None, **fields):
    """A sync as it was answered, with an integration of its own unless one is given."""
    reply = team.api.post(URL, {"integration_id": integration_id or new_integration(team),
                                "name": "Issues", "direction": "pull", **fields})
    assert reply.status_code == 201, reply.text
    return reply.json()


def report(team, sync, status="success", headers=None, **fields):
    """A run that was reported, as it was answered."""
    reply = team.api.post(f"{URL}/{sync['id']}/runs", {"status": status, **fields}, headers=headers)
    assert reply.status_code == 201, reply.text
    return reply.json()

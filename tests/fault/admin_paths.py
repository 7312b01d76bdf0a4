"""The writing paths of the administration API as rows: how each is asked for, what it leaves.

To cover a new one: a row in CHANGES.
"""

import hashlib
import re
import time
import uuid

from harness import truth
from harness.client import Api
from harness.people import PASSWORD, Person, create_user
from harness.senders import listen
from harness.totp import code_at
from harness.world import made

KEY, OWNER = "key", "owner"
NEW_PASSWORD = "quite another horse"


class Change:
    """One way to change something.

    `make(w)` sets up on a healthy server what the change is about; it returns the words that {…}
    stands for in the route and in `pieces`. Those are statements about everything that the change
    writes: each finds 0 without it, and `whole` with it. `action` is that of its audit row, or
    None. `body(words)`, or `upload`: the words' member that is sent as a file. `actors`: who may;
    empty: whom make() returns as `api`. `is_deep`: walked in the long run only.
    """

    def __init__(self, name, method, route, make, pieces, *, body=None, action=None, whole=1,
                 actors=(KEY, OWNER), upload=None, is_deep=False):
        self.name, self.method, self.route = name, method, route
        self.make, self.pieces, self.body = make, pieces, body
        self.action, self.whole, self.actors = action, whole, actors
        self.upload, self.is_deep = upload, is_deep


def unique():
    return uuid.uuid4().hex


# --- what a change is about ----------------------------------------------------------------------


def named(w):
    """Something that is made under a new name."""
    return {"name": unique()}


def key(w):
    made_key = w.post("/v1/api-keys", {"name": unique()})
    rev, digest = truth.rows(w.server, "SELECT rev, token_hash FROM integration_tokens "
                             "WHERE id = ?", made_key["id"])[0]
    return {"id": made_key["id"], "rev": rev, "hash": digest}


def disabled_key(w):
    words = key(w)
    w.post(f"/v1/api-keys/{words['id']}/disable")
    words["rev"] = truth.value(w.server, "SELECT rev FROM integration_tokens WHERE id = ?",
                               words["id"])
    return words


def contact(w):
    return {"id": w.post("/v1/contacts", {"name": unique(), "emails": [unique() + "@x.org"]})["id"]}


def two_contacts(w):
    """Two contacts, and a ticket about the one that is going to be merged into the other."""
    source, target = contact(w)["id"], contact(w)["id"]
    ticket = w.post("/v1/tickets", {"title": "about", "contact_id": source})["id"]
    return {"id": target, "source": source, "ticket": ticket}


def agent(w):
    return {"id": w.post("/v1/agents", {"kind": "bot", "name": unique()})["id"]}


def project(w):
    return {"id": w.post("/v1/projects", {"key": "P" + unique()[:8].upper(), "name": "x"})["id"]}


def new_project(w):
    return {"key": "P" + unique()[:8].upper()}


def member(w):
    return {"id": w.post("/v1/users", {"email": unique() + "@x.org", "role": "agent"})["id"]}


def team(w):
    return {"version": truth.value(w.server, "SELECT version FROM team WHERE id = ?", w.id)}


def ticket(w):
    return {"ticket": w.post("/v1/tickets", {"title": "subject"})["id"],
            "agent": w.id_of("agent_id"), "contact": w.id_of("contact_id")}


def watched_ticket(w):
    words = ticket(w)
    w.post(f"/v1/tickets/{words['ticket']}/watchers", {"kind": "contact", "id": words["contact"]})
    return words


def file(w):
    content = uuid.uuid4().bytes * 1000
    return {**ticket(w), "content": content, "sha256": hashlib.sha256(content).hexdigest()}


def attachment(w):
    words = file(w)
    reply = w.api.request("POST", f"/v1/tickets/{words['ticket']}/attachments",
                          data=words["content"], headers={"Content-Type": "image/png"})
    return {**words, "id": made(reply)["id"]}


def account(w):
    """A user of the team who has never signed in, as the browser that will."""
    found = create_user(w.server, "agent", w.slug)
    return {"id": found["id"], "email": found["email"],
            "api": Person(w.server, found["email"], check=False)}


def signed_in(w):
    words = account(w)
    words["session"] = words["api"].sign_in().session_id
    return words


def signed_in_twice(w):
    """With a second session, and with what the password is now."""
    words = signed_in(w)
    words["other"] = words["api"].again().session_id
    words["hash"] = truth.value(w.server, "SELECT password_hash FROM app_user WHERE id = ?",
                                words["id"])
    return words


def begun_totp(w):
    words = signed_in(w)
    words["secret"] = made(words["api"].post("/v1/me/totp"))["secret"]
    return words


def code(words):
    return {"code": code_at(words["secret"], int(time.time()) // 30)}


def with_totp(w):
    words = begun_totp(w)
    made(words["api"].post("/v1/me/totp/confirm", code(words)))
    return words


def invited(w):
    """A user with a link that sets the first password."""
    reply = w.post("/v1/users", {"email": unique() + "@x.org", "role": "agent"})
    return {"id": reply["id"], "token": re.split("[=#/]", reply["invite_url"])[-1],
            "api": Api(w.server, check=False)}


REPORT = {"source": "tickets", "measures": [{"name": "n", "op": "count"}]}
DAILY = {"kind": "daily", "at": "07:30", "recipients": ["zoe@x.org"]}


def report(w):
    return {"id": w.post("/v1/reports", {"name": "x", "definition": REPORT})["id"]}


def schedule(w):
    words = report(w)
    made_schedule = w.post(f"/v1/reports/{words['id']}/schedules", DAILY)
    return {"report": words["id"], "id": made_schedule["id"]}


def integration(w):
    return {"id": w.post("/v1/integrations", {"kind": "github", "name": "x"})["id"]}


def secured_integration(w):
    words = integration(w)
    words["secret"] = w.post(f"/v1/integrations/{words['id']}/secrets", {})["id"]
    return words


def hear(w):
    """The team has a webhook, so that its events are written."""
    if not truth.value(w.server, "SELECT count(*) FROM webhook WHERE team_id = ?", w.id):
        listen(w)


def sync(w):
    """Of an integration of its own."""
    hear(w)
    words = integration(w)
    made_sync = w.post("/v1/syncs", {"integration_id": words["id"], "name": "x",
                                     "direction": "pull"})
    return {"integration": words["id"], "id": made_sync["id"]}


def new_sync(w):
    """Something that is made under a new name for an integration."""
    hear(w)
    return {"integration": integration(w)["id"], "name": unique()}


def reported_sync(w):
    words = sync(w)
    w.post(f"/v1/syncs/{words['id']}/runs", {"status": "success"})
    return words


# --- what it leaves ------------------------------------------------------------------------------

# A change of a key is one that the servers are told of: the feed stands at the key's number.
KEY_TOLD = ("SELECT count(*) FROM integration_tokens t JOIN change_feed f ON f.name = 'token' "
            "AND f.value = t.rev WHERE t.id = {id} AND t.rev > {rev}")
KEY_IS = "SELECT count(*) FROM integration_tokens WHERE id = {id} AND "
CONTACT_NOTED = "SELECT count(*) FROM contact_activity WHERE contact_id = {id} AND action = "
TICKET_NOTED = "SELECT count(*) FROM ticket_activity WHERE ticket_id = {ticket} AND action = "
OF_NEW_USER = " JOIN app_user u ON u.id = x.user_id WHERE u.email = {name} || '@x.org'"
OF_NEW_CONTACTS = " JOIN contact c ON c.id = x.contact_id WHERE c.name = {name}"
SYNC_TOLD = "SELECT count(*) FROM event WHERE subject_id = {id} AND type = "
NO_SESSION = "SELECT 1 - count(*) FROM user_session WHERE id = "

CHANGES = [
    Change("key-create", "POST", "/v1/api-keys", named, [
        "SELECT count(*) FROM integration_tokens t JOIN change_feed f ON f.name = 'token' AND "
        "f.value = t.rev WHERE t.name = {name}",
    ], body=lambda x: {"name": x["name"]}, action="api_key.create"),
    Change("key-patch", "PATCH", "/v1/api-keys/{id}", key, [
        KEY_TOLD, KEY_IS + "description = 'other'",
    ], body=lambda x: {"description": "other"}, action="api_key.update"),
    Change("key-disable", "POST", "/v1/api-keys/{id}/disable", key, [
        KEY_TOLD, KEY_IS + "status = 'disabled'",
    ], action="api_key.disable"),
    Change("key-enable", "POST", "/v1/api-keys/{id}/enable", disabled_key, [
        KEY_TOLD, KEY_IS + "status = 'active'",
    ], action="api_key.enable", is_deep=True),
    Change("key-regenerate", "POST", "/v1/api-keys/{id}/regenerate", key, [
        KEY_TOLD, KEY_IS + "token_hash <> {hash}",
    ], body=lambda x: {}, action="api_key.regenerate"),
    Change("key-delete", "DELETE", "/v1/api-keys/{id}", key, [
        KEY_TOLD, KEY_IS + "status = 'deleted'",
    ], action="api_key.delete"),
    Change("contact-create", "POST", "/v1/contacts", named, [
        "SELECT count(*) FROM contact WHERE name = {name}",
        "SELECT count(*) FROM contact_email x" + OF_NEW_CONTACTS,
        "SELECT count(*) FROM contact_tag x" + OF_NEW_CONTACTS,
        "SELECT count(DISTINCT x.contact_id) FROM contact_term x" + OF_NEW_CONTACTS,
        "SELECT count(*) FROM contact_activity x" + OF_NEW_CONTACTS,
    ], body=lambda x: {"name": x["name"], "emails": ["a@x.org"], "tags": ["new"]}),
    Change("contact-bulk", "POST", "/v1/contacts/bulk", named, [
        "SELECT count(*) FROM contact WHERE name = {name}",
        "SELECT count(*) FROM contact_email x" + OF_NEW_CONTACTS,
        "SELECT count(*) FROM contact_activity x" + OF_NEW_CONTACTS,
    ], body=lambda x: {"contacts": [{"name": x["name"], "emails": ["a@x.org"]}] * 3}, whole=3),
    Change("contact-merge", "POST", "/v1/contacts/{id}/merge", two_contacts, [
        "SELECT count(*) FROM contact WHERE id = {source} AND merged_into = {id} "
        "AND deleted_ms IS NOT NULL",
        "SELECT count(*) FROM contact WHERE id = {id} AND version = 2",
        "SELECT count(*) - 1 FROM contact_email WHERE contact_id = {id}",
        "SELECT 1 - count(*) FROM contact_email WHERE contact_id = {source}",
        "SELECT count(*) FROM tickets WHERE id = {ticket} AND contact_id = {id}",
        CONTACT_NOTED + "'merged'",
    ], body=lambda x: {"from": [x["source"]]}, action="contact.merge"),
    Change("contact-patch", "PATCH", "/v1/contacts/{id}", contact, [
        "SELECT count(*) FROM contact WHERE id = {id} AND version = 2",
        "SELECT count(*) FROM contact_email WHERE contact_id = {id} AND email = 'b@x.org'",
        CONTACT_NOTED + "'updated'",
    ], body=lambda x: {"emails": ["b@x.org"]}, is_deep=True),
    Change("contact-delete", "DELETE", "/v1/contacts/{id}", contact, [
        "SELECT count(deleted_ms) FROM contact WHERE id = {id}",
        "SELECT 1 - count(*) FROM contact_email WHERE contact_id = {id}",
        CONTACT_NOTED + "'deleted'",
    ], is_deep=True),
    Change("agent-create", "POST", "/v1/agents", named, [
        "SELECT count(*) FROM agent WHERE name = {name}",
        "SELECT count(*) FROM agent_skill x JOIN agent a ON a.id = x.agent_id WHERE a.name = {name}",
    ], body=lambda x: {"kind": "bot", "name": x["name"], "skills": ["billing"]},
        action="agent.create"),
    Change("agent-patch", "PATCH", "/v1/agents/{id}", agent, [
        "SELECT count(*) FROM agent WHERE id = {id} AND version = 2",
        "SELECT count(*) FROM agent_skill WHERE agent_id = {id}",
    ], body=lambda x: {"skills": ["law"]}, action="agent.update", is_deep=True),
    Change("agent-delete", "DELETE", "/v1/agents/{id}", agent, [
        "SELECT count(deleted_ms) FROM agent WHERE id = {id}",
    ], action="agent.delete", is_deep=True),
    Change("project-create", "POST", "/v1/projects", new_project, [
        "SELECT count(*) FROM project WHERE key = {key}",
    ], body=lambda x: {"key": x["key"], "name": "new"}, action="project.create"),
    Change("project-patch", "PATCH", "/v1/projects/{id}", project, [
        "SELECT count(*) FROM project WHERE id = {id} AND name = 'other' AND version = 2",
    ], body=lambda x: {"name": "other"}, action="project.update"),
    Change("project-delete", "DELETE", "/v1/projects/{id}", project, [
        "SELECT 1 - count(*) FROM project WHERE id = {id}",
    ], action="project.delete"),
    Change("integration-create", "POST", "/v1/integrations", named, [
        "SELECT count(*) FROM integration WHERE name = {name}",
    ], body=lambda x: {"kind": "github", "name": x["name"]}, action="integration.create"),
    Change("integration-patch", "PATCH", "/v1/integrations/{id}", integration, [
        "SELECT count(*) FROM integration WHERE id = {id} AND name = 'other' AND version = 2",
    ], body=lambda x: {"name": "other"}, action="integration.update", is_deep=True),
    Change("integration-secret-add", "POST", "/v1/integrations/{id}/secrets", integration, [
        "SELECT count(*) FROM integration_secret WHERE integration_id = {id}",
        "SELECT count(*) FROM integration WHERE id = {id} AND version = 2",
    ], body=lambda x: {}, action="integration.secret_add"),
    Change("integration-secret-remove", "DELETE", "/v1/integrations/{id}/secrets/{secret}",
           secured_integration, [
               "SELECT 1 - count(*) FROM integration_secret WHERE integration_id = {id}",
               "SELECT count(*) FROM integration WHERE id = {id} AND version = 3",
           ], action="integration.secret_remove", is_deep=True),
    Change("integration-delete", "DELETE", "/v1/integrations/{id}", secured_integration, [
        "SELECT count(deleted_ms) FROM integration WHERE id = {id}",
        "SELECT 1 - count(*) FROM integration_secret WHERE integration_id = {id}",
    ], action="integration.delete"),
    Change("sync-create", "POST", "/v1/syncs", new_sync, [
        "SELECT count(*) FROM sync WHERE name = {name}",
        "SELECT count(*) FROM event e JOIN sync s ON s.id = e.subject_id WHERE s.name = {name} AND "
        "e.type = 'sync.created'",
    ], body=lambda x: {"integration_id": x["integration"], "name": x["name"], "direction": "pull"},
        action="sync.create"),
    Change("sync-patch", "PATCH", "/v1/syncs/{id}", sync, [
        "SELECT count(*) FROM sync WHERE id = {id} AND name = 'other' AND version = 2",
        SYNC_TOLD + "'sync.updated'",
    ], body=lambda x: {"name": "other"}, action="sync.update", is_deep=True),
    Change("sync-run", "POST", "/v1/syncs/{id}/runs", sync, [
        "SELECT count(*) FROM sync_run WHERE sync_id = {id} AND status = 'partial'",
        "SELECT count(*) FROM sync WHERE id = {id} AND last_status = 'partial' AND "
        "last_run_ms IS NOT NULL AND version = 2",
        SYNC_TOLD + "'sync.finished'",
    ], body=lambda x: {"status": "partial", "items_created": 3, "errors": ["one"]}),
    Change("sync-run-failed", "POST", "/v1/syncs/{id}/runs", sync, [
        "SELECT count(*) FROM sync_run WHERE sync_id = {id} AND status = 'error'",
        "SELECT count(*) FROM sync WHERE id = {id} AND last_status = 'error'",
        SYNC_TOLD + "'sync.failed'",
    ], body=lambda x: {"status": "error"}, is_deep=True),
    Change("sync-delete", "DELETE", "/v1/syncs/{id}", reported_sync, [
        "SELECT count(deleted_ms) FROM sync WHERE id = {id}",
        SYNC_TOLD + "'sync.deleted'",
    ], action="sync.delete"),
    Change("team-create", "POST", "/v1/teams", named, [
        "SELECT count(*) FROM team WHERE name = {name}",
        "SELECT count(*) FROM team_member x JOIN team t ON t.id = x.team_id WHERE t.name = {name}",
    ], body=lambda x: {"name": x["name"]}, action="team.create", actors=(OWNER,)),
    Change("team-patch", "PATCH", "/v1/teams/{team}", team, [
        "SELECT count(*) FROM team WHERE id = {team} AND version = {version} + 1",
    ], body=lambda x: {"name": "other"}, action="team.update", actors=(OWNER,), is_deep=True),
    Change("user-invite", "POST", "/v1/users", named, [
        "SELECT count(*) FROM app_user WHERE email = {name} || '@x.org'",
        "SELECT count(*) FROM team_member x" + OF_NEW_USER,
        "SELECT count(*) FROM password_reset x" + OF_NEW_USER,
    ], body=lambda x: {"email": x["name"] + "@x.org", "role": "agent"}, action="user.invite"),
    Change("user-role", "PATCH", "/v1/users/{id}", member, [
        "SELECT count(*) FROM team_member WHERE user_id = {id} AND role = 'admin'",
    ], body=lambda x: {"role": "admin"}, action="user.role"),
    Change("user-remove", "DELETE", "/v1/users/{id}", member, [
        "SELECT 1 - count(*) FROM team_member WHERE user_id = {id}",
    ], action="user.remove"),
    Change("ticket-assign", "POST", "/v1/tickets/{ticket}/assign", ticket, [
        "SELECT count(*) FROM tickets WHERE id = {ticket} AND assignee_id = {agent} "
        "AND version = 2",
        TICKET_NOTED + "'assigned'",
    ], body=lambda x: {"assignee_id": x["agent"]}),
    Change("watcher-add", "POST", "/v1/tickets/{ticket}/watchers", ticket, [
        "SELECT count(*) FROM ticket_watcher WHERE ticket_id = {ticket} AND id = {contact}",
        TICKET_NOTED + "'watcher_added'",
    ], body=lambda x: {"kind": "contact", "id": x["contact"]}),
    Change("watcher-remove", "DELETE", "/v1/tickets/{ticket}/watchers/{contact}", watched_ticket, [
        "SELECT 1 - count(*) FROM ticket_watcher WHERE ticket_id = {ticket}",
        TICKET_NOTED + "'watcher_removed'",
    ], is_deep=True),
    Change("upload", "POST", "/v1/tickets/{ticket}/attachments", file, [
        "SELECT count(*) FROM attachment WHERE sha256 = {sha256}",
        "SELECT count(*) FROM blob WHERE sha256 = {sha256}",
        TICKET_NOTED + "'attachment_added'",
    ], upload="content"),
    Change("attachment-delete", "DELETE", "/v1/attachments/{id}", attachment, [
        "SELECT 1 - count(*) FROM attachment WHERE id = {id}",
        "SELECT 1 - count(*) FROM blob WHERE sha256 = {sha256}",
        "SELECT count(*) FROM blob_loose WHERE sha256 = {sha256}",
        TICKET_NOTED + "'attachment_removed'",
    ]),
    Change("schedule-create", "POST", "/v1/reports/{id}/schedules", report, [
        "SELECT count(*) FROM report_schedule WHERE report_id = {id} AND next_ms > 0 AND "
        "runs_as IS NOT NULL AND deliveries LIKE '%zoe@x.org%'",
    ], body=lambda x: DAILY, action="report_schedule.create", is_deep=True),
    Change("schedule-patch", "PATCH", "/v1/reports/{report}/schedules/{id}", schedule, [
        "SELECT count(*) FROM report_schedule WHERE id = {id} AND version = 2 AND "
        "deliveries LIKE '%ann@x.org%' AND recipients LIKE '%ann@x.org%'",
    ], body=lambda x: {"recipients": ["ann@x.org"]}, action="report_schedule.update", is_deep=True),
    Change("schedule-run", "POST", "/v1/reports/{report}/schedules/{id}/run-now", schedule, [
        "SELECT count(*) FROM report_run WHERE schedule_id = {id} AND state = 'queued'",
        'SELECT count(*) FROM job j JOIN report_run r ON r.team_id = j.team_id AND r.job_id = j.id '
        "WHERE r.schedule_id = {id} AND j.kind = 'report.run' AND j.key = {id}",
        "SELECT count(*) FROM job_lane l JOIN report_run r ON r.team_id = l.team_id WHERE "
        "r.schedule_id = {id} AND l.kind = 'report.run' AND l.lane = {id}",
    ], action="report_schedule.run"),
    Change("totp-confirm", "POST", "/v1/me/totp/confirm", begun_totp, [
        "SELECT count(totp_secret) FROM app_user WHERE id = {id}",
        "SELECT 1 - count(*) FROM totp_pending WHERE user_id = {id}",
        "SELECT CASE count(*) WHEN 10 THEN 1 ELSE count(*) END FROM recovery_code "
        "WHERE user_id = {id}",
    ], body=code, action="user.totp_enable", actors=()),
    Change("totp-disable", "POST", "/v1/me/totp/disable", with_totp, [
        "SELECT 1 - count(totp_secret) FROM app_user WHERE id = {id}",
        "SELECT CASE count(*) WHEN 10 THEN 0 ELSE 1 + count(*) END FROM recovery_code "
        "WHERE user_id = {id}",
    ], body=lambda x: {"password": PASSWORD}, action="user.totp_disable", actors=(), is_deep=True),
    Change("sign-in", "POST", "/v1/sessions", account, [
        "SELECT count(*) FROM user_session WHERE user_id = {id}",
        "SELECT count(last_sign_in_ms) FROM app_user WHERE id = {id}",
    ], body=lambda x: {"email": x["email"], "password": PASSWORD}, actors=()),
    Change("sign-out", "DELETE", "/v1/sessions/current", signed_in, [
        NO_SESSION + "{session}",
    ], actors=()),
    Change("password-change", "POST", "/v1/me/password", signed_in_twice, [
        "SELECT count(*) FROM app_user WHERE id = {id} AND password_hash <> {hash}",
        NO_SESSION + "{other}",
    ], body=lambda x: {"current_password": PASSWORD, "new_password": NEW_PASSWORD},
        action="user.password_change", actors=()),
    Change("password-reset", "POST", "/v1/password-resets/confirm", invited, [
        "SELECT count(password_hash) FROM app_user WHERE id = {id}",
        "SELECT 1 - count(*) FROM password_reset WHERE user_id = {id}",
    ], body=lambda x: {"token": x["token"], "password": NEW_PASSWORD},
        action="user.password_reset", actors=(), is_deep=True),
]

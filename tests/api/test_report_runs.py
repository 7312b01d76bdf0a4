"""Scheduled reports as they run: who is sent what with whose rights, what is tried again, what the
history says."""

import contextlib
import datetime
import json
import time
import uuid
from urllib.parse import urlsplit

import pytest
from harness import truth
from harness.client import Api, assert_problem
from harness.hooks import new_webhook
from harness.inbox import URL, Inbox, Loopback, parsed, settings
from harness.jobs import run_now as job_now
from harness.jobs import wait_rest
from harness.people import Person, create_user, new_email
from harness.receiver import Receiver
from harness.server import Server
from harness.tenants import Tenant
from harness.wait import stays_true, wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
TICKETS = {"source": "tickets", "group_by": ["priority"], "measures": [{"name": "n", "op": "count"}]}
DAILY = {"kind": "daily", "at": "07:30", "format": "csv"}
RUN = "report.run"


@pytest.fixture(scope="module")
def post():
    """(inbox, port) of a mail server on this machine."""
    inbox = Inbox()
    made = Loopback(inbox)
    made.start()
    yield inbox, made.port
    made.stop()


@pytest.fixture(scope="module")
def mailing_server(make_server, post):
    # An address without TLS, so that browsers send their cookies.
    server = make_server(settings(post[1], TESSERA_PUBLIC_URL="http://tessera.example.com/"))
    yield server
    server.close()


@pytest.fixture
def inbox(post):
    """Empty, and in a good mood."""
    post[0].mails.clear()
    post[0].refused.clear()
    return post[0]


@pytest.fixture
def tenant(mailing_server, inbox):
    return Tenant(mailing_server, "Größe & Co")


@pytest.fixture
def api(tenant):
    return tenant.api


def save_report(api, name="Tickets by priority", definition=None):
    reply = api.post("/v1/reports", {"name": name, "definition": definition or TICKETS})
    assert reply.status_code == 201, reply.text
    return f"/v1/reports/{reply.json()['id']}"


def schedule(api, report=None, **body):
    """The path of a new schedule."""
    report = report or save_report(api)
    reply = api.post(report + "/schedules", {**DAILY, **body})
    assert reply.status_code == 201, reply.text
    return f"{report}/schedules/{reply.json()['id']}"


def start(api, path):
    """The path of a run that was asked for."""
    reply = api.post(path + "/run-now")
    assert reply.status_code == 202, reply.text
    run = reply.json()
    assert reply.headers["Location"] == f"{path}/runs/{run['id']}"
    assert (run["state"], run["cause"], run["deliveries"]) == ("queued", "manual", [])
    return reply.headers["Location"]


def get(api, path):
    reply = api.get(path)
    assert reply.status_code == 200, reply.text
    return reply.json()


def over(api, path, state="done"):
    """The run when it is over."""
    found = wait_until(lambda: (run := get(api, path))["finished_at"] and run, 15, "the run is over")
    assert found["state"] == state, found
    return found


def attached(envelope):
    """(name, media type, bytes) of the file of a mail."""
    part, = parsed(envelope).iter_attachments()
    return part.get_filename(), part.get_content_type(), part.get_payload(decode=True)


def look_now(server):
    """The server looks for what is due, and has done so."""
    count = "SELECT count(*) FROM job WHERE kind = 'report.due' AND state = 'done'"
    before = truth.value(server, count)
    job_now(server, "report.due")
    wait_until(lambda: truth.value(server, count) > before, 10, "the server has looked")


def make_due(server, path, ms_ago=0):
    """The schedule has been due for that long, and the server looks."""
    truth.execute(server, "UPDATE report_schedule SET next_ms = ? WHERE id = ?",
                  int(time.time() * 1000) - ms_ago, path.split("/")[-1])
    job_now(server, "report.due")


def runs_of(api, path):
    return get(api, path + "/runs")["data"]


def states(run):
    return {d["target"]: d["state"] for d in run["deliveries"]}


# --- what arrives ---------------------------------------------------------------------------------


def test_every_recipient_gets_a_mail_with_the_file(api, inbox):
    for _ in range(3):
        api.post("/v1/tickets", {"title": "x", "priority": "high"})
    path = schedule(api, save_report(api, "Wöchentlich: \"offen\""),
                    recipients=["zoe@acme.example", "ann@acme.example"])

    run = over(api, start(api, path))

    assert states(run) == {"zoe@acme.example": "sent", "ann@acme.example": "sent"}
    assert [d["attempts"] for d in run["deliveries"]] == [1, 1]
    assert (run["rows"], run["error"], run["format"]) == (1, None, "csv")
    assert sorted(m.rcpt_tos for m in inbox.mails) == [["ann@acme.example"], ["zoe@acme.example"]]
    message = parsed(inbox.mails[0])
    assert not message.defects and message["Subject"].startswith("Wöchentlich: \"offen\" (2")
    text = message.get_body().get_content()
    assert "Größe & Co" in text and "attached" in text
    name, media, content = attached(inbox.mails[0])
    assert (name, media) == ("Wöchentlich: \"offen\".csv", "text/csv")
    assert content == b"priority,n\r\nhigh,3\r\n" and len(content) == run["size"]
    assert api.get(f"/v1/exports/{run['export_id']}/file").content == content


@pytest.mark.parametrize("form", ["json", "csv", "xlsx"])
def test_the_file_has_the_form_of_the_schedule(api, inbox, form):
    over(api, start(api, schedule(api, recipients=["a@acme.example"], format=form)))

    name, _, content = attached(inbox.mails[0])
    assert name == f"Tickets by priority.{form}"
    assert content.startswith({"json": b"{", "csv": b"priority,n", "xlsx": b"PK"}[form])


def test_a_file_too_large_for_a_mail_is_told_of(start_server, post, inbox):
    server = start_server(env=settings(post[1], TESSERA_REPORT_MAIL_KB="0"))
    team = Tenant(server)

    run = over(team.api, start(team.api, schedule(team.api, recipients=["a@acme.example"])))

    message = parsed(inbox.wait())
    link = f"/v1/exports/{run['export_id']}/file"
    assert URL + link in message.get_content() and not list(message.iter_attachments())
    assert team.api.get(link).content.startswith(b"priority,n")


# --- when -----------------------------------------------------------------------------------------


def test_a_due_schedule_runs_once_and_moves_on(mailing_server, api, inbox):
    path = schedule(api, recipients=["a@acme.example"])
    make_due(mailing_server, path)

    run, = wait_until(lambda: runs_of(api, path), 10, "it runs")
    over(api, f"{path}/runs/{run['id']}")
    look_now(mailing_server)

    assert run["cause"] == "schedule" and len(runs_of(api, path)) == 1 and len(inbox.mails) == 1
    following = truth.value(mailing_server, "SELECT next_ms FROM report_schedule WHERE id = ?",
                            path.split("/")[-1])
    first = datetime.datetime.fromisoformat(get(api, path)["next_runs"][0].replace("Z", "+00:00"))
    assert following == first.timestamp() * 1000 > time.time() * 1000


def test_a_downtime_of_weeks_is_made_up_for_by_one_run(mailing_server, api, inbox):
    path = schedule(api, recipients=["a@acme.example"], kind="cron", cron="0 * * * *", at=None)
    make_due(mailing_server, path, ms_ago=30 * 86400 * 1000)

    run, = wait_until(lambda: runs_of(api, path), 10, "it runs")
    over(api, f"{path}/runs/{run['id']}")
    look_now(mailing_server)

    assert len(runs_of(api, path)) == 1 and len(inbox.mails) == 1


def test_what_is_off_and_what_was_made_before_there_were_runs_does_not_run(mailing_server, api):
    off = schedule(api, recipients=["a@acme.example"], enabled=False)
    old = schedule(api, recipients=["a@acme.example"])
    truth.execute(mailing_server, "UPDATE report_schedule SET next_ms = 0, deliveries = NULL, "
                  "runs_as = NULL WHERE id = ?", old.split("/")[-1])
    make_due(mailing_server, off)
    wait_until(lambda: truth.value(mailing_server, "SELECT next_ms FROM report_schedule WHERE "
                                   "id = ?", old.split("/")[-1]) > 0, 10, "its time is worked out")
    wait_rest(mailing_server)

    assert runs_of(api, off) == runs_of(api, old) == []
    assert get(api, old)["deliveries"] == [
        {"type": "email", "address": "a@acme.example", "webhook_id": None, "outside": True}]
    make_due(mailing_server, old)
    run, = wait_until(lambda: runs_of(api, old), 10, "the old one runs")
    assert states(over(api, f"{old}/runs/{run['id']}")) == {"a@acme.example": "sent"}


def test_while_a_run_waits_no_second_one_is_added(mailing_server, api, inbox):
    assert api.post(f"/v1/job-kinds/{RUN}/pause").status_code == 200
    path = schedule(api, recipients=["a@acme.example"])
    waiting = start(api, path)

    assert_problem(api.post(path + "/run-now"), 409, "conflict")
    truth.execute(mailing_server, "UPDATE report_schedule SET next_ms = 1 WHERE id = ?",
                  path.split("/")[-1])
    look_now(mailing_server)
    assert [r["state"] for r in runs_of(api, path)] == ["queued"]

    api.post(f"/v1/job-kinds/{RUN}/resume")
    over(api, waiting)
    assert len(inbox.mails) == 1


def test_a_run_whose_job_was_cancelled_is_over(mailing_server, api):
    api.post(f"/v1/job-kinds/{RUN}/pause")
    path = start(api, schedule(api, recipients=["a@acme.example"]))
    api.post(f"/v1/jobs/{get(api, path)['job_id']}/cancel")

    job_now(mailing_server, "report.due")

    assert "job was ended" in over(api, path, "failed")["error"]


# --- what fails -----------------------------------------------------------------------------------


def test_one_refused_address_keeps_no_other_from_its_mail(api, inbox):
    inbox.refused["gone@acme.example"] = "550 no such user"
    path = schedule(api, recipients=["gone@acme.example", "a@acme.example"])

    run = over(api, start(api, path), "failed")

    failed, sent = run["deliveries"]
    assert (failed["state"], sent["state"], sent["sent_at"] is None) == ("failed", "sent", False)
    assert "550" in failed["error"] and run["error"] == "1 of its deliveries failed"
    job = wait_until(lambda: (j := get(api, f"/v1/jobs/{run['job_id']}"))["state"] == "dead" and j,
                     5, "the operator sees it")
    assert "550" in job["error"] and job["attempt"] == 1


def test_a_job_that_is_retried_sends_only_what_was_not_sent(api, inbox):
    inbox.refused["late@acme.example"] = "550 no such user"
    path = start(api, schedule(api, recipients=["late@acme.example", "a@acme.example"]))
    job = over(api, path, "failed")["job_id"]
    wait_until(lambda: get(api, f"/v1/jobs/{job}")["state"] == "dead", 5, "the job is over")
    inbox.refused.clear()
    first = attached(inbox.to("a@acme.example")[0])

    assert api.post(f"/v1/jobs/{job}/retry").status_code == 200

    wait_until(lambda: get(api, path)["state"] == "done", 10, "the rest is sent")
    assert len(inbox.to("a@acme.example")) == 1
    assert attached(inbox.to("late@acme.example")[0]) == first      # the same file


def test_what_may_pass_by_is_tried_again_later(mailing_server, api, inbox):
    inbox.refused["busy@acme.example"] = "451 later"
    path = start(api, schedule(api, recipients=["busy@acme.example", "a@acme.example"]))
    job = get(api, path)["job_id"]

    found = wait_until(lambda: (j := get(api, f"/v1/jobs/{job}"))["attempt"] == 1 and
                       j["state"] == "ready" and j, 10, "it waits for its second attempt")
    run = get(api, path)
    assert "451" in found["error"] and run["state"] == "running" and not run["finished_at"]
    assert states(run) == {"busy@acme.example": "waiting", "a@acme.example": "sent"}

    inbox.refused.clear()
    truth.execute(mailing_server, "UPDATE job SET due_ms = 1 WHERE id = ?", job)
    truth.execute(mailing_server, "UPDATE job_lane SET wake_ms = 0 WHERE kind = ?", RUN)
    run = over(api, path)
    assert [d["attempts"] for d in run["deliveries"]] == [2, 1] and len(inbox.mails) == 2


def test_without_a_mail_server_the_delivery_says_so(server):
    team = Tenant(server)

    run = over(team.api, start(team.api, schedule(team.api, recipients=["a@acme.example"])),
               "failed")

    assert "smtp_url" in run["deliveries"][0]["error"] and run["size"] > 0


def test_a_report_that_cannot_run_fails_with_the_reason(mailing_server, api, inbox):
    report = save_report(api)
    path = schedule(api, report, recipients=["a@acme.example"])
    truth.execute(mailing_server, "UPDATE report SET definition = ? WHERE id = ?",
                  json.dumps({**TICKETS, "source": "nothing"}), report.split("/")[-1])

    run = over(api, start(api, path), "failed")

    assert "source" in run["error"] and states(run) == {"a@acme.example": "failed"}
    assert not inbox.mails


# --- with whose rights ----------------------------------------------------------------------------


def test_the_report_shows_what_the_one_who_set_it_up_may_see(tenant, api, inbox):
    email = create_user(tenant.server, "viewer", tenant.slug)["email"]
    theirs = tenant.api_with(["reports:schedule", "reports:write", "tickets:read", "tickets:write"])
    api.post("/v1/tickets", {"title": "a", "priority": "high"})
    theirs.post("/v1/tickets", {"title": "b", "priority": "low"})
    report = save_report(api)

    over(api, start(api, schedule(theirs, report, recipients=[email])))
    assert attached(inbox.mails[-1])[2] == b"priority,n\r\nlow,1\r\n"
    path = schedule(api, report, recipients=[email])
    over(api, start(theirs, path))
    assert attached(inbox.mails[-1])[2] == b"priority,n\r\nhigh,1\r\nlow,1\r\n"

    # Who directs it elsewhere does so with rights of its own.
    changed = theirs.patch(path, {"at": "08:00"}).json()
    assert changed["runs_as"] != changed["created_by"]
    over(api, start(api, path))
    assert attached(inbox.mails[-1])[2] == b"priority,n\r\nlow,1\r\n"


@pytest.mark.parametrize("how", ["disabled", "left"])
def test_who_is_gone_sends_nothing_any_more(tenant, api, inbox, how):
    if how == "disabled":
        key = tenant.new_key(["admin:full"])
        theirs = Api(tenant.server, key["token"])
        leave = lambda: api.post(f"/v1/api-keys/{key['id']}/disable")       # noqa: E731
    else:
        user = create_user(tenant.server, "admin", tenant.slug)
        theirs = Person(tenant.server, user["email"], team=tenant.slug).sign_in()
        leave = lambda: api.delete(f"/v1/users/{user['id']}")               # noqa: E731
    path = schedule(theirs, save_report(api), recipients=["a@acme.example"])
    assert leave().status_code in (200, 204)

    run = over(api, start(api, path), "refused")

    found = get(api, path)
    assert (found["enabled"], found["next_runs"]) == (False, [])
    assert found["paused_reason"] == run["error"] and "gone" in run["error"]
    assert [r["action"] for r in tenant.audit(action="report_schedule.pause")] == [
        "report_schedule.pause"]
    assert not inbox.mails
    taken = api.patch(path, {"enabled": True}).json()
    assert (taken["enabled"], taken["paused_reason"]) == (True, None)
    over(api, start(api, path))
    assert len(inbox.mails) == 1


def test_a_lost_right_to_the_source_stops_the_schedule(tenant, api, inbox):
    key = tenant.new_key(["reports:schedule", "tickets:read"])
    member = create_user(tenant.server, "viewer", tenant.slug)["email"]
    path = schedule(Api(tenant.server, key["token"]), save_report(api), recipients=[member])
    api.patch(f"/v1/api-keys/{key['id']}", {"scopes": ["reports:schedule"]})

    run = over(api, start(api, path), "refused")

    assert "tickets:read" in run["error"] and get(api, path)["enabled"] is False
    assert states(run) == {member: "failed"} and not inbox.mails


def test_only_admins_send_reports_out_of_the_team(tenant, api, inbox):
    member = create_user(tenant.server, "viewer", tenant.slug)
    agent = Person(tenant.server, create_user(tenant.server, "agent", tenant.slug)["email"],
                   team=tenant.slug).sign_in()
    report = save_report(api)

    problem = assert_problem(agent.post(report + "/schedules", {**DAILY, "recipients": [
        member["email"], "x@elsewhere.example"]}), 422, fields=["recipients[1]"])
    assert "admin" in problem["detail"]
    theirs = schedule(agent, report, recipients=[member["email"].upper()])
    mine = schedule(api, report, recipients=["x@elsewhere.example"])
    assert_problem(agent.patch(mine, {"at": "08:00"}), 422, fields=["deliveries[0].address"])
    assert [d["outside"] for p in (theirs, mine) for d in get(api, p)["deliveries"]] == [False, True]

    over(api, start(api, theirs))
    api.delete(f"/v1/users/{member['id']}")
    run = over(api, start(api, theirs), "failed")
    assert "nobody in the team any more" in run["deliveries"][0]["error"]
    assert len(inbox.to(member["email"])) == 1


def test_an_admins_schedule_stops_for_those_who_leave(tenant, api, inbox):
    member = create_user(tenant.server, "viewer", tenant.slug)
    path = schedule(api, recipients=[member["email"], "x@elsewhere.example"])
    api.delete(f"/v1/users/{member['id']}")

    run = over(api, start(api, path), "failed")

    assert states(run) == {member["email"]: "failed", "x@elsewhere.example": "sent"}


def test_a_team_sends_a_thousand_mails_a_day(mailing_server, tenant, api, inbox):
    path = schedule(api, recipients=["a@acme.example"])
    run = over(api, start(api, path))
    for n in range(1, 1000):
        truth.execute(mailing_server, "INSERT INTO report_delivery (team_id, run_id, n, type, "
                      "target, is_outside, state, attempts, sent_ms) VALUES (?, ?, ?, 'email', 'x', "
                      "0, 'sent', 1, ?)", tenant.id, run["id"], n, int(time.time() * 1000))

    waiting = start(api, path)

    found = wait_until(lambda: (d := get(api, waiting)["deliveries"]) and d[0]["error"] and d[0],
                       10, "it is held back")
    assert "1000" in found["error"] and found["state"] == "waiting" and len(inbox.mails) == 1


# --- webhooks -------------------------------------------------------------------------------------


def hook(tenant, events=("report.finished",), state="enabled"):
    """A webhook of the team, past the API; its id."""
    made = str(uuid.uuid4())
    truth.execute(tenant.server, "INSERT INTO webhook (team_id, id, url, events, header_names, "
                  "payload, is_ordered, state, notice, version, created_ms, updated_ms) VALUES "
                  "(?, ?, 'https://hooks.acme.example/', ?, '[]', 'full', 0, ?, 0, 1, 1, 1)",
                  tenant.id, made, json.dumps(events), state)
    return made


def events_of(tenant):
    """(actor, data) of every event report.finished of the team."""
    return [(row[0], json.loads(row[1])) for row in truth.rows(
        tenant.server, "SELECT actor_kind, data FROM event WHERE team_id = ? AND type = "
        "'report.finished' ORDER BY seq", tenant.id)]


def test_a_webhook_is_told_once_where_the_file_is(tenant, api, inbox):
    target = hook(tenant, ["report.*"])
    path = schedule(api, deliveries=[{"type": "webhook", "webhook_id": target},
                                     {"type": "email", "address": "a@acme.example"}])

    run = over(api, start(api, path))

    assert [(d["type"], d["target"], d["state"]) for d in run["deliveries"]] == [
        ("webhook", target, "sent"), ("email", "a@acme.example", "sent")]
    (actor, data), = events_of(tenant)
    assert (actor, data["state"], data["id"], data["rows"]) == ("server", "done", run["id"], 0)
    assert data["report_name"] == "Tickets by priority"
    assert data["file_url"] == f"http://tessera.example.com/v1/exports/{run['export_id']}/file"
    assert get(api, path)["recipients"] == ["a@acme.example"]
    later = api.patch(path, {"recipients": ["b@acme.example"]}).json()
    assert [d["type"] for d in later["deliveries"]] == ["email", "webhook"]


def test_a_receiver_gets_the_event_and_can_fetch_the_file(tenant, api):
    with Receiver() as receiver:
        target = new_webhook(tenant, receiver.url(), ["report.finished"])
        path = schedule(api, deliveries=[{"type": "webhook", "webhook_id": target["id"]}])
        run = over(api, start(api, path))

        [got] = receiver.wait(1)

    assert got.signed_by(target["secret"])
    body = got.json
    assert (body["type"], body["actor"]["kind"], body["data"]["id"]) == (
        "report.finished", "server", run["id"])
    assert api.get(urlsplit(body["data"]["file_url"]).path).content == b"priority,n\r\n"


def test_who_subscribes_hears_of_runs_that_had_no_file(tenant, api):
    hook(tenant, ["*"])
    key = tenant.new_key(["reports:schedule", "tickets:read"])
    member = create_user(tenant.server, "viewer", tenant.slug)["email"]
    path = schedule(Api(tenant.server, key["token"]), save_report(api), recipients=[member])
    api.post(f"/v1/api-keys/{key['id']}/disable")

    run = over(api, start(api, path), "refused")

    (_, data), = events_of(tenant)
    assert (data["state"], data["error"], data["file_url"]) == ("refused", run["error"], None)


def test_a_webhook_that_went_away_fails_its_delivery_alone(tenant, api, inbox):
    target = hook(tenant)
    path = schedule(api, deliveries=[{"type": "webhook", "webhook_id": target},
                                     {"type": "email", "address": "a@acme.example"}])
    truth.execute(tenant.server, "UPDATE webhook SET state = 'disabled' WHERE id = ?", target)

    run = over(api, start(api, path), "failed")
    assert states(run) == {target: "failed", "a@acme.example": "sent"}
    assert "disabled" in run["deliveries"][0]["error"]
    job = run["job_id"]
    wait_until(lambda: get(api, f"/v1/jobs/{job}")["state"] == "dead", 5, "the operator sees it")

    truth.execute(tenant.server, "UPDATE webhook SET state = 'enabled' WHERE id = ?", target)
    assert api.post(f"/v1/jobs/{job}/retry").status_code == 200
    run_path = f"{path}/runs/{run['id']}"
    wait_until(lambda: get(api, run_path)["state"] == "done", 10, "it is told")
    assert len(inbox.mails) == 1 and len(events_of(tenant)) == 2


def test_webhooks_that_would_not_be_told_are_named(tenant, api):
    theirs = hook(Tenant(tenant.server, "others"))
    report = save_report(api)
    for target, why in ((ABSENT, "no webhook"), (theirs, "no webhook"),
                        (hook(tenant, ["ticket.*"]), "subscribed"),
                        (hook(tenant, state="disabled"), "disabled")):
        problem = assert_problem(api.post(report + "/schedules", {**DAILY, "deliveries": [
            {"type": "webhook", "webhook_id": target}]}), 422, fields=["deliveries[0].webhook_id"])
        assert why in problem["detail"]
    assert_problem(api.post(report + "/schedules", {**DAILY, "deliveries": [
        {"type": "webhook"}, {"type": "webhook", "address": "a@b.example", "webhook_id": ABSENT}]}),
        422, fields=["deliveries[0].webhook_id", "deliveries[1].address"])


# --- history --------------------------------------------------------------------------------------


def test_runs_are_listed_newest_first_and_paged(api):
    path = schedule(api, recipients=["a@acme.example"])
    made = []
    for _ in range(3):
        run = start(api, path)
        over(api, run)
        made.insert(0, run.split("/")[-1])

    first = api.get(path + "/runs", params={"limit": 2}).json()
    rest = api.get(path + "/runs", params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [r["id"] for r in first["data"] + rest["data"]] == made
    assert rest["next_cursor"] is None and "deliveries" not in first["data"][0]
    assert_problem(api.get(path + "/runs", params={"cursor": "x"}), 400, fields=["cursor"])


def test_what_is_not_there_or_not_allowed(tenant, api, anonymous_at):
    path = schedule(api, recipients=["a@acme.example"])
    other = schedule(api, recipients=["a@acme.example"])
    run = start(api, path)
    assert_problem(api.get(f"{other}/runs/{run.split('/')[-1]}"), 404)
    assert_problem(api.get(f"{path}/runs/{ABSENT}"), 404)
    assert_problem(api.get(f"{path}/runs/nope"), 400, fields=["run_id"])
    gone = path.rsplit("/", 1)[0] + "/" + ABSENT
    for method, target in (("GET", "/runs"), ("GET", "/runs/" + ABSENT), ("POST", "/run-now")):
        assert_problem(api.request(method, gone + target), 404)
        assert_problem(api.request(method, path.rsplit("/", 1)[0] + "/nope" + target), 400)
    lacking = tenant.api_with(["reports:read"])
    for method, target in (("GET", path + "/runs"), ("GET", run), ("POST", path + "/run-now")):
        assert_problem(lacking.request(method, target), 403, "insufficient_scope")
        assert_problem(anonymous_at(tenant.server).request(method, target), 401)
    over(api, run)
    assert [r["target_id"] for r in tenant.audit(action="report_schedule.run")] == [
        path.split("/")[-1]]


@pytest.fixture
def anonymous_at():
    return Api


def test_a_deleted_schedule_runs_no_more(mailing_server, api, inbox):
    api.post(f"/v1/job-kinds/{RUN}/pause")
    path = schedule(api, recipients=["a@acme.example"])
    run = start(api, path).split("/")[-1]
    assert api.delete(path).status_code == 204
    api.post(f"/v1/job-kinds/{RUN}/resume")

    wait_until(lambda: truth.value(mailing_server, "SELECT j.state FROM job j JOIN report_run r ON "
                                   "r.job_id = j.id WHERE r.id = ?", run) == "done", 10, "it is over")
    job_now(mailing_server, "report.due")
    wait_until(lambda: truth.value(mailing_server, "SELECT state FROM report_run WHERE id = ?",
                                   run) == "failed", 10, "the run is over too")
    assert not inbox.mails


def test_runs_of_long_ago_are_removed(mailing_server, api):
    path = schedule(api, recipients=["a@acme.example"])
    old, young = start(api, path), None
    over(api, old)
    young = start(api, path)
    over(api, young)
    truth.execute(mailing_server, "UPDATE report_run SET finished_ms = finished_ms - ? WHERE id = ?",
                  91 * 86400 * 1000, old.split("/")[-1])

    job_now(mailing_server, "report.sweep")

    wait_until(lambda: api.get(old).status_code == 404, 10, "the old one is gone")
    assert len(get(api, young)["deliveries"]) == 1
    assert not truth.value(mailing_server, "SELECT count(*) FROM report_delivery WHERE run_id = ?",
                           old.split("/")[-1])


# --- the forms of deliveries ----------------------------------------------------------------------


def test_deliveries_and_recipients_are_two_ways_to_say_it(api):
    path = schedule(api, deliveries=[{"type": "email", "address": "Zoe@Acme.example"},
                                     {"type": "email", "address": "zoe@acme.example"}])
    made = get(api, path)
    assert made["recipients"] == ["zoe@acme.example"]
    assert made["deliveries"] == [{"type": "email", "address": "zoe@acme.example",
                                   "webhook_id": None, "outside": True}]

    later = api.patch(path, {"recipients": ["a@acme.example"]}).json()
    assert [d["address"] for d in later["deliveries"]] == ["a@acme.example"]


@pytest.mark.parametrize("body, fields", [
    ({"deliveries": [{"type": "email"}]}, ["deliveries[0].address"]),
    ({"deliveries": [{"type": "email", "address": "nobody"}]}, ["deliveries[0].address"]),
    ({"deliveries": [{"type": "pigeon", "address": "a@b.example"}]}, ["deliveries[0].type"]),
    ({"deliveries": []}, ["deliveries"]),
    ({"deliveries": [{"type": "email", "address": f"a{i}@b.example"} for i in range(21)]},
     ["deliveries"]),
    ({"deliveries": [{"type": "email", "address": "a@b.example"}], "recipients": ["a@b.example"]},
     ["recipients"]),
    ({"recipients": ["a@b.example"], "kind": "cron", "at": None, "cron": "*/10 * * * *"}, ["cron"]),
    ({"recipients": ["a@b.example"], "kind": "cron", "at": None, "cron": "0,50 8,9 * * *"},
     ["cron"]),
])
def test_what_is_wrong_with_a_target_or_a_pace_is_named(api, body, fields):
    report = save_report(api)
    body = {k: v for k, v in {**DAILY, **body}.items() if v is not None}
    assert_problem(api.post(report + "/schedules", body), 422, fields=fields)


# --- several nodes, and a node that dies ----------------------------------------------------------


@pytest.mark.only_backend("postgres")
def test_two_nodes_run_what_is_due_once(make_server, post, inbox):
    first = make_server(settings(post[1]))
    second = Server("postgres", first.database, env=settings(post[1]))
    try:
        second.start()
        team = Tenant(first)
        report = save_report(team.api)
        paths = [schedule(team.api, report, recipients=[f"a{i}@acme.example"]) for i in range(10)]
        for _ in range(3):
            wait_rest(first)
            truth.execute(first, "UPDATE report_schedule SET next_ms = 1")
            before = len(inbox.mails)
            truth.execute(first, "UPDATE job_kind SET next_ms = 1 WHERE kind = 'report.due'")
            wait_until(lambda: len(inbox.mails) >= before + 10, 15, "all are sent")
            wait_until(lambda: not truth.value(first, "SELECT count(*) FROM report_run WHERE "
                                               "finished_ms IS NULL"), 10, "all are over")

        assert len(inbox.mails) == 30
        assert [len(runs_of(team.api, p)) for p in paths] == [3] * 10
    finally:
        with contextlib.closing(first), contextlib.closing(second):
            pass


def test_the_run_of_a_killed_node_goes_on_after_its_lease(make_server, post, inbox):
    server = make_server({**settings(post[1]), "TESSERA_JOB_LEASE_S": "2"})
    try:
        team = Tenant(server)
        path = schedule(team.api, recipients=["a@acme.example", "b@acme.example"])
        inbox.gate.clear()                      # the mail server has the first mail in its hands
        run = start(team.api, path)
        wait_until(lambda: get(team.api, run)["size"], 10, "the file is made")
        export = get(team.api, run)["export_id"]
        server.kill9()
        inbox.gate.set()
        server.start()

        found = over(team.api, run)

        assert states(found) == {"a@acme.example": "sent", "b@acme.example": "sent"}
        assert found["export_id"] == export             # the figures of the first attempt
        assert get(team.api, f"/v1/jobs/{found['job_id']}")["attempt"] == 2
        assert len(inbox.to("b@acme.example")) == 1 and 1 <= len(inbox.to("a@acme.example")) <= 2
        stays_true(lambda: len(inbox.mails) <= 3, 0.5, "nothing is sent again")
    finally:
        inbox.gate.set()
        server.close()


@pytest.mark.only_backend("postgres")
def test_the_run_of_a_killed_node_goes_on_at_another_one(make_server, post, inbox):
    """They share no folder, so the file is made again there."""
    env = {**settings(post[1]), "TESSERA_JOB_LEASE_S": "2"}
    first = make_server(env)
    second = Server("postgres", first.database, env=env)
    with contextlib.closing(first), contextlib.closing(second):
        try:
            second.start()
            team = Tenant(first)
            inbox.gate.clear()
            path = schedule(team.api, recipients=["a@acme.example"])
            run = start(team.api, path)
            job = wait_until(lambda: (r := get(team.api, run))["size"] and r["job_id"], 10,
                             "the file is made")
            node = truth.value(first, "SELECT node FROM job WHERE id = ?", job)
            ends, goes_on = (first, second) if node.endswith(f":{first.proc.pid}") else (second, first)
            export = get(team.api, run)["export_id"]
            ends.kill9()
            inbox.gate.set()
            goes_on.wait_token(team.key["token"], {200, 403})
            api = Api(goes_on, team.key["token"])

            found = over(api, run)

            assert states(found) == {"a@acme.example": "sent"} and found["export_id"] != export
            assert api.get(f"/v1/exports/{found['export_id']}/file").content == b"priority,n\r\n"
            assert truth.value(first, "SELECT attempt FROM job WHERE id = ?", job) == 2
            assert 1 <= len(inbox.mails) <= 2
        finally:
            inbox.gate.set()

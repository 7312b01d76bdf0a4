"""Mails: what a real SMTP server on this machine is given, and what keeps mails from it."""

import re
import ssl
import statistics
import subprocess
import time
from email.utils import parsedate_to_datetime

import pytest
from harness.client import Api
from harness.inbox import URL, Inbox, Loopback, parsed, settings
from harness.people import Person, create_user, new_email, person_on
from harness.tenants import Tenant
from harness.wait import wait_until

PATH = "/v1/password-resets"


@pytest.fixture
def mail():
    """(inbox, controller) of a server without TLS on this machine."""
    inbox = Inbox()
    made = Loopback(inbox)
    made.start()
    yield inbox, made
    inbox.gate.set()
    made.stop()


@pytest.fixture
def mailing(start_server, mail):
    """(server that mails, inbox)"""
    inbox, controller = mail
    return start_server(env=settings(controller.port)), inbox


def token_in(envelope):
    return re.search(re.escape(URL) + r"/reset-password\?token=([\w-]{43})\n",
                     parsed(envelope).get_content().replace("\r\n", "\n"))[1]


def test_a_reset_link_is_mailed_and_works(mailing):
    server, inbox = mailing
    made = create_user(server)

    assert Api(server).post(PATH, {"email": made["email"].upper()}).status_code == 202

    envelope = inbox.wait()
    assert envelope.rcpt_tos == [made["email"]] and envelope.mail_from == "tessera@example.org"
    reply = Api(server).post(PATH + "/confirm", {"token": token_in(envelope),
                                                 "new_password": "a new horse battery"})
    assert reply.status_code == 204
    Person(server, made["email"], "a new horse battery").sign_in()


def test_the_message_is_well_formed(mailing):
    server, inbox = mailing
    made = create_user(server)

    Api(server).post(PATH, {"email": made["email"]})

    raw = inbox.wait().original_content
    message = parsed(inbox.mails[0])
    assert not message.defects and all(b"\r\n" in line or not line
                                       for line in raw.splitlines(keepends=True))
    assert b"\n" not in raw.replace(b"\r\n", b"") and max(map(len, raw.split(b"\r\n"))) <= 78
    assert abs(parsedate_to_datetime(message["Date"]).timestamp() - time.time()) < 60
    assert re.fullmatch(r"<[\w-]{36}@example\.org>", message["Message-ID"])
    assert message["From"].addresses[0].addr_spec == "tessera@example.org"
    assert [a.addr_spec for a in message["To"].addresses] == [made["email"]]
    assert message["Subject"] == "Set a new password"
    assert message.get_content_type() == "text/plain" and message.get_content_charset() == "utf-8"
    assert message["Auto-Submitted"] == "auto-generated"


def test_an_invitation_is_mailed_in_any_script(mailing):
    server, inbox = mailing
    name = "Жаба 株式会社 " + "ü" * 80
    team = Tenant(server, name)
    email = new_email()

    made = team.api.post("/v1/users", {"email": email, "role": "agent"}).json()

    envelope = inbox.wait()
    message = parsed(envelope)
    assert message["Subject"] == f"You are invited to {name}"
    assert name in message.get_content() and made["invite_url"] in message.get_content()
    assert made["invite_url"].startswith(URL) and envelope.rcpt_tos == [email]
    assert max(map(len, envelope.original_content.split(b"\r\n"))) <= 78


def test_a_known_user_gets_no_invitation(mailing):
    server, inbox = mailing
    team, known = Tenant(server), create_user(server)

    team.api.post("/v1/users", {"email": known["email"], "role": "agent"})
    team.api.post("/v1/users", {"email": new_email(), "role": "agent"})

    inbox.wait()
    assert known["email"] not in [m.rcpt_tos[0] for m in inbox.mails]


def test_an_unknown_or_disabled_account_gets_no_mail(mailing):
    server, inbox = mailing
    gone, known = create_user(server), create_user(server)
    server.cli("user", "disable", gone["email"])

    for email in (new_email(), gone["email"], known["email"]):      # sent one after another
        Api(server).post(PATH, {"email": email})

    inbox.wait()
    assert [m.rcpt_tos for m in inbox.mails] == [[known["email"]]]


def test_one_account_is_mailed_three_times_at_most(mailing):
    server, inbox = mailing
    made, last = create_user(server), create_user(server)

    for _ in range(5):
        assert Api(server).post(PATH, {"email": made["email"]}).status_code == 202
    Api(server).post(PATH, {"email": last["email"]})

    inbox.wait(4)
    assert [m.rcpt_tos[0] for m in inbox.mails] == [made["email"]] * 3 + [last["email"]]


def test_the_answer_does_not_wait_for_the_mail(mailing):
    server, inbox = mailing
    inbox.gate.clear()                          # the mail server takes its time
    made, took = create_user(server), {}

    for kind, email in [("known", made["email"]), ("unknown", new_email())] * 3:
        began = time.monotonic()
        assert Api(server).post(PATH, {"email": email}).status_code == 202
        took.setdefault(kind, []).append(time.monotonic() - began)

    assert not inbox.mails
    assert statistics.median(took["known"]) < 2 and statistics.median(took["unknown"]) < 2
    inbox.gate.set()
    inbox.wait()


def test_a_refused_mail_is_logged_and_the_next_goes_out(mailing):
    server, inbox = mailing
    first, second = create_user(server), create_user(server)
    inbox.refuse = "550 not here"
    Api(server).post(PATH, {"email": first["email"]})
    wait_until(lambda: "mail.failed" in server.log_text(), 5, "the failure is logged")
    inbox.refuse = None

    Api(server).post(PATH, {"email": second["email"]})

    assert inbox.wait().rcpt_tos == [second["email"]]
    assert "token=" not in server.log_text()


def test_the_server_stops_while_a_mail_is_on_its_way(mailing):
    server, inbox = mailing
    inbox.gate.clear()
    made = create_user(server)
    Api(server).post(PATH, {"email": made["email"]})

    assert server.stop() < 8
    inbox.gate.set()
    server.start()


def test_without_smtp_an_invitation_has_its_link(server):
    ann = person_on(server)

    reply = ann.post("/v1/users", {"email": new_email(), "role": "viewer"})

    assert reply.status_code == 201 and reply.json()["invite_url"]


def test_user_and_password_are_given_to_the_mail_server(start_server):
    inbox = Inbox()
    made = Loopback(inbox, authenticator=inbox.authenticate, auth_require_tls=False,
                    auth_required=True)
    made.start()
    try:
        server = start_server(env=settings(made.port, TESSERA_SMTP_USER="mailer",
                                           TESSERA_SMTP_PASSWORD="secret"))
        Api(server).post(PATH, {"email": create_user(server)["email"]})
        inbox.wait()
    finally:
        made.stop()

    assert {(login, password) for _, login, password in inbox.logins} == {(b"mailer", b"secret")}
    assert "secret" not in server.log_text()


def self_signed(folder):
    """(certificate, key) that nobody vouches for."""
    cert, key = str(folder / "cert.pem"), str(folder / "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key, "-out", cert,
                    "-days", "2", "-subj", "/CN=mail", "-addext", "subjectAltName=IP:127.0.0.2"],
                   check=True, capture_output=True, timeout=30)
    return cert, key


@pytest.mark.parametrize("with_tls", [False, True], ids=["no STARTTLS", "a certificate of nobody"])
def test_a_mail_does_not_leave_the_machine_in_the_clear(start_server, tmp_path, with_tls):
    """127.0.0.2 is not one of the names that the program takes for this machine."""
    inbox = Inbox()
    context = None
    if with_tls:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*self_signed(tmp_path))
    made = Loopback(inbox, host="127.0.0.2", tls_context=context)
    made.start()
    try:
        server = start_server(env=settings(made.port, host="127.0.0.2"))
        Api(server).post(PATH, {"email": create_user(server)["email"]})
        wait_until(lambda: "mail.failed" in server.log_text(), 5, "the failure is logged")
    finally:
        made.stop()

    assert not inbox.mails


@pytest.mark.parametrize("change, setting", [
    ({"TESSERA_SMTP_URL": "http://127.0.0.1"}, "smtp_url"),
    ({"TESSERA_SMTP_URL": "smtp://u:p@127.0.0.1"}, "smtp_url"),
    ({"TESSERA_SMTP_FROM": ""}, "smtp_from"), ({"TESSERA_SMTP_FROM": "nobody"}, "smtp_from"),
    ({"TESSERA_SMTP_FROM": "a@b, c@d"}, "smtp_from"), ({"TESSERA_PUBLIC_URL": ""}, "public_url")])
def test_a_bad_setting_is_named_at_the_start(make_server, change, setting):
    server = make_server(env={**settings(25), **change}, start=False)
    try:
        done = server.run("serve", "--listen", "127.0.0.1:0")
        assert done.returncode == 2 and setting in done.stderr
    finally:
        server.close()

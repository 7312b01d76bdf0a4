"""A real SMTP server on this machine that keeps what it is given."""

import asyncio
import threading
from email import message_from_bytes, policy

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword

from .postgres import free_port
from .wait import wait_until

URL = "https://tessera.example.com"


class Inbox:
    """Keeps what arrives; may be slow or refuse."""

    def __init__(self):
        self.mails = []
        self.logins = []
        self.refuse = None
        self.refused = {}           # answers to addresses that it does not take
        self.gate = threading.Event()
        self.gate.set()

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address in self.refused:
            return self.refused[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, _session, envelope):
        while not self.gate.is_set():
            await asyncio.sleep(0.01)
        if self.refuse:
            return self.refuse
        self.mails.append(envelope)
        return "250 kept"

    def authenticate(self, _server, _session, _envelope, mechanism, data):
        assert isinstance(data, LoginPassword)
        self.logins.append((mechanism, data.login, data.password))
        return AuthResult(success=data.password == b"secret")

    def wait(self, n=1):
        wait_until(lambda: len(self.mails) >= n, 5, f"{n} mails arrive")
        return self.mails[-1]

    def to(self, address):
        """The mails that went to an address."""
        return [m for m in self.mails if m.rcpt_tos == [address]]


class Loopback(Controller):
    def __init__(self, inbox, host="127.0.0.1", **kwargs):
        super().__init__(inbox, hostname=host, port=free_port(), enable_SMTPUTF8=True, **kwargs)


def settings(port, host="127.0.0.1", **more):
    return {"TESSERA_SMTP_URL": f"smtp://{host}:{port}", "TESSERA_SMTP_FROM": "tessera@example.org",
            "TESSERA_PUBLIC_URL": URL, **more}


def parsed(envelope):
    return message_from_bytes(envelope.original_content, policy=policy.default)

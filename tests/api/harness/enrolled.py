"""Users with a second factor: the secrets that the server keeps for people."""

from . import truth
from .client import Api
from .people import PASSWORD, Person, create_user
from .totp import code_at, now_step


class Enrolled:
    """A user with a second factor."""

    def __init__(self, server, password=PASSWORD):
        self.server, self.password = server, password
        made = create_user(server, "agent", password=password)
        self.id, self.email = made["id"], made["email"]
        self.browser = Person(server, self.email, password).sign_in()
        reply = self.browser.post("/v1/me/totp")
        assert reply.status_code == 200, reply.text
        self.secret = reply.json()["secret"]
        self.step = now_step() - 1
        reply = self.browser.post("/v1/me/totp/confirm", {"code": code_at(self.secret, self.step)})
        assert reply.status_code == 200, reply.text
        self.codes = reply.json()["recovery_codes"]

    def sign_in(self, **more):
        return Api(self.server).post("/v1/sessions", {"email": self.email, "password": self.password,
                                                      **more})

    def opens(self):
        """A sign-in with a code of the authenticator app, each step once."""
        truth.execute(self.server, "UPDATE app_user SET totp_step = 0 WHERE id = ?", self.id)
        reply = self.sign_in(totp_code=code_at(self.secret, now_step()))
        assert reply.status_code == 201, reply.text

    def recovers(self):
        """A sign-in with the next recovery code."""
        reply = self.sign_in(recovery_code=self.codes.pop())
        assert reply.status_code == 201, reply.text

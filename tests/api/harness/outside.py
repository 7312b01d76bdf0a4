"""Users of an outside issuer: settings of a server that trusts it, tokens that it would sign."""

import time
import uuid

import jwt

from .client import Api

ISSUER = "https://id.example.com/auth/v1"
AUDIENCE = "authenticated"
SECRET = "a shared secret of more than thirty-two bytes"
TEAM_DEFAULT = "00000000-0000-7000-8000-000000000001"
PASSWORD = "correct horse battery staple"


def settings(**more):
    """Environment of a server that takes the issuer's tokens; more: secret=, jwks=, role=, …"""
    return {"TESSERA_JWT_ISSUER": ISSUER, "TESSERA_JWT_AUDIENCE": AUDIENCE,
            **{f"TESSERA_JWT_{k.upper()}": v for k, v in more.items()}}


def claims(**more):
    """Claims that are fine, of a new subject; None takes one out."""
    now = int(time.time())
    made = {"iss": ISSUER, "aud": AUDIENCE, "sub": str(uuid.uuid4()), "iat": now, "exp": now + 600,
            **more}
    return {k: v for k, v in made.items() if v is not None}


def signed(key=SECRET, algorithm="HS256", kid=None, **more):
    """A token with these claims."""
    return jwt.encode(claims(**more), key, algorithm=algorithm,
                      headers={"kid": kid} if kid else None)


def address():
    """An e-mail address that nobody has."""
    return f"u-{uuid.uuid4().hex}@example.com"


def user_created(server, email, role="agent"):
    """A user of the default team with the password PASSWORD."""
    done = server.cli("user", "create", "--email", email, "--role", role, "--password-file",
                      password_file(server))
    return done


def password_file(server):
    path = f"{server.dir}/password"
    with open(path, "w", encoding="utf-8") as f:
        f.write(PASSWORD + "\n")
    return path


def outsider(server, role="agent"):
    """A client of a new user of the default team who signs in with a token of the issuer; its
    `email` says who."""
    email = address()
    user_created(server, email, role)
    token = signed(sub=email, email=email, email_verified=True, exp=int(time.time()) + 7200)
    made = Api(server, token)
    made.email = email
    reply = made.get("/v1/teams")
    assert reply.status_code == 200, reply.text
    return made

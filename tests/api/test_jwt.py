"""Bearer JWTs of an outside issuer: whom they name, what is refused, how its keys rotate.

Tokens are signed here with python3-jwt; the issuer's key set is a file or a small server of the
test on a loopback port.
"""

import base64
import hashlib
import hmac
import json
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from harness import truth
from harness.client import Api, assert_problem
from harness.outside import (AUDIENCE, ISSUER, SECRET, TEAM_DEFAULT, address, claims, settings,
                             signed, user_created)
from harness.wait import wait_until


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(key, kid):
    """The JWK of a key's public half."""
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": b64(numbers.n.to_bytes(key.key_size // 8, "big")),
                "e": b64(numbers.e.to_bytes(3, "big")), "kid": kid, "use": "sig"}
    return {"kty": "EC", "crv": "P-256", "x": b64(numbers.x.to_bytes(32, "big")),
            "y": b64(numbers.y.to_bytes(32, "big")), "kid": kid, "use": "sig"}


@pytest.fixture(scope="module")
def rsa_key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def ec_key():
    return ec.generate_private_key(ec.SECP256R1())


class Issuer:
    """A key set server on a loopback port. `keys` is what it shows, `asked` counts."""

    def __init__(self):
        self.keys = []
        self.status = 200
        self.asked = 0
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                issuer.asked += 1
                body = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                if issuer.status == 302:
                    self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/keys"

    def close(self):
        self.server.shutdown()
        self.thread.join(10)
        self.server.server_close()


@pytest.fixture
def issuer():
    made = Issuer()
    yield made
    made.close()


@pytest.fixture(scope="module")
def hs_server(make_server):
    """A server that takes HS256 tokens and adds verified users as viewers."""
    made = make_server(env=settings(secret=SECRET, role="viewer"))
    yield made
    made.close()


def teams(server, token):
    """GET /v1/teams with a JWT."""
    return Api(server, token).get("/v1/teams")


# --- whom a token names --------------------------------------------------------------------------


def test_a_verified_user_is_added_to_the_default_team_once(hs_server):
    email, subject = address(), str(uuid.uuid4())
    token = signed(sub=subject, email=email, email_verified=True, name="Ada")

    first = teams(hs_server, token)
    again = teams(hs_server, signed(sub=subject, email=address()))   # the link is by sub alone

    assert first.status_code == 200, first.text
    assert [(t["id"], t["role"]) for t in first.json()["data"]] == [(TEAM_DEFAULT, "viewer")]
    assert again.json() == first.json()


def test_a_verified_address_links_to_the_user_who_has_it(hs_server):
    email, subject = address(), str(uuid.uuid4())
    user_created(hs_server, email, "admin")

    reply = teams(hs_server, signed(sub=subject, email=email.upper(), email_verified=True))

    assert [t["role"] for t in reply.json()["data"]] == ["admin"]
    assert teams(hs_server, signed(sub=subject)).status_code == 200
    told = truth.rows(hs_server, "SELECT ip, agent FROM audit_log WHERE actor_name = ? AND "
                                 "action = 'user.identity_link'", email)
    assert [ip for ip, _ in told] == ["127.0.0.1"] and "python" in told[0][1]


@pytest.mark.parametrize("more", [
    {}, {"email_verified": False}, {"email_verified": "true"},
    {"role": "authenticated", "user_metadata": {"email_verified": True}}])
def test_an_address_that_is_not_verified_names_nobody(hs_server, more):
    email = address()
    user_created(hs_server, email, "owner")

    reply = teams(hs_server, signed(email=email, **more))

    problem = assert_problem(reply, 401, "invalid_token")
    assert "names nobody" in problem["detail"]


def test_the_setting_takes_the_issuers_addresses_as_verified(start_server):
    server = start_server(env=settings(secret=SECRET, trust_email="true"))
    email = address()
    user_created(server, email)

    linked = teams(server, signed(email=email, role="authenticated",
                                  user_metadata={"email_verified": False}))
    unknown = teams(server, signed(email=address()))

    assert [t["role"] for t in linked.json()["data"]] == ["agent"]
    assert_problem(unknown, 401, "invalid_token")      # jwt_role is not set


def test_roles_hold_for_jwt_users(hs_server):
    viewer = Api(hs_server, signed(email=address(), email_verified=True))

    assert viewer.get("/v1/projects").status_code == 200
    problem = assert_problem(viewer.post("/v1/projects", {"key": "VIEW", "name": "x"}), 403,
                             "insufficient_role")
    assert "admin" in problem["detail"]
    assert viewer.get(f"/v1/teams/{TEAM_DEFAULT}").json()["role"] == "viewer"


def test_two_first_requests_at_once_make_one_user(hs_server):
    token = signed(email=address(), email_verified=True)
    replies = []
    threads = [threading.Thread(target=lambda: replies.append(teams(hs_server, token)))
               for _ in range(6)]

    for t in threads:
        t.start()
    for t in threads:
        t.join(30)

    assert [r.status_code for r in replies] == [200] * 6, [r.text for r in replies]
    assert len({r.text for r in replies}) == 1


# --- what is refused -----------------------------------------------------------------------------


def none_token(**more):
    """A token that says it needs no signature."""
    parts = [json.dumps(part).encode() for part in ({"alg": "none"}, claims(**more))]
    return ".".join((b64(parts[0]), b64(parts[1]), "AAAA"))


@pytest.mark.parametrize("more, why", [
    ({"exp": int(time.time()) - 3600}, "expired"),
    ({"exp": None}, "exp"),
    ({"nbf": int(time.time()) + 3600}, "not valid yet"),
    ({"iat": int(time.time()) + 3600}, "future"),
    ({"iss": "https://other.example.com"}, "iss"),
    ({"aud": "other"}, "aud"), ({"aud": ["a", "b"]}, "aud"), ({"aud": None}, "aud"),
    ({"sub": None}, "sub"), ({"sub": ""}, "sub")])
def test_claims_that_are_not_ours_are_401_with_a_reason(hs_server, more, why):
    reply = teams(hs_server, signed(email=address(), email_verified=True, **more))

    assert why in assert_problem(reply, 401, "invalid_token")["detail"]


def test_times_within_the_skew_and_an_audience_in_an_array_are_fine(hs_server):
    now = int(time.time())

    reply = teams(hs_server, signed(email=address(), email_verified=True, exp=now - 20,
                                    nbf=now + 20, aud=["x", AUDIENCE]))

    assert reply.status_code == 200, reply.text


def test_garbage_and_unsigned_tokens_are_401(hs_server):
    good = signed(email=address(), email_verified=True)
    head, body, sig = good.split(".")
    forged = b64(json.dumps(claims(email=address(), email_verified=True)).encode())
    bad = [none_token(), f"{head}.{body}.AAAA", f"{head}.{forged}.{sig}", "eyJ.eyJ.eyJ",
           signed(key="another secret of more than thirty-two bytes"),
           signed(algorithm="HS512"), "eyJ" + "A" * 7000 + ".A.A"]

    for token in bad:
        assert_problem(teams(hs_server, token), 401, "invalid_token")


def test_a_public_key_is_no_shared_secret(start_server, tmp_path, rsa_key):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"keys": [public_jwk(rsa_key, "r1")]}))
    server = start_server(env=settings(jwks=str(path), role="viewer"))
    pem = rsa_key.public_key().public_bytes(serialization.Encoding.PEM,
                                            serialization.PublicFormat.SubjectPublicKeyInfo)
    head = b64(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "r1"}).encode())
    body = b64(json.dumps(claims(email=address(), email_verified=True)).encode())
    sig = b64(hmac.new(pem, f"{head}.{body}".encode(), hashlib.sha256).digest())

    assert_problem(teams(server, f"{head}.{body}.{sig}"), 401, "invalid_token")
    good = signed(rsa_key, "RS256", "r1", email=address(), email_verified=True)
    assert teams(server, good).status_code == 200


def test_without_an_issuer_a_jwt_is_no_token(server):
    assert_problem(teams(server, signed()), 401, "invalid_token")


# --- key sets ------------------------------------------------------------------------------------


def answers(server, status, token):
    return teams(server, token).status_code == status


def test_rs256_and_es256_keys_rotate(start_server, issuer, rsa_key, ec_key):
    issuer.keys = [public_jwk(rsa_key, "old")]
    server = start_server(env=settings(jwks=issuer.url, role="viewer"))
    old = signed(rsa_key, "RS256", "old", email=address(), email_verified=True)
    new = signed(ec_key, "ES256", "new", email=address(), email_verified=True)
    wait_until(lambda: answers(server, 200, old), 10, "the first key set is read")

    assert_problem(teams(server, new), 401, "invalid_token")
    issuer.keys = [public_jwk(ec_key, "new")]
    wait_until(lambda: answers(server, 200, new), 25, "the unknown key id makes it read again")

    assert_problem(teams(server, old), 401, "invalid_token")     # its key is gone


def test_unknown_key_ids_do_not_hammer_the_issuer(start_server, issuer, rsa_key):
    issuer.keys = [public_jwk(rsa_key, "r1")]
    server = start_server(env=settings(jwks=issuer.url, role="viewer"))
    good = signed(rsa_key, "RS256", "r1", email=address(), email_verified=True)
    wait_until(lambda: answers(server, 200, good), 10, "the key set is read")

    for i in range(30):
        teams(server, signed(rsa_key, "RS256", f"unknown-{i}"))

    assert issuer.asked <= 3
    assert teams(server, good).status_code == 200


@pytest.mark.parametrize("failure", ["status", "redirect", "empty", "gone"])
def test_old_keys_stay_when_the_set_cannot_be_read(start_server, issuer, rsa_key, failure):
    issuer.keys = [public_jwk(rsa_key, "r1")]
    server = start_server(env=settings(jwks=issuer.url, role="viewer"))
    good = signed(rsa_key, "RS256", "r1", email=address(), email_verified=True)
    wait_until(lambda: answers(server, 200, good), 10, "the key set is read")

    if failure == "gone":
        issuer.server.socket.close()
    issuer.status = {"status": 500, "redirect": 302}.get(failure, 200)
    issuer.keys = [] if failure == "empty" else issuer.keys
    teams(server, signed(rsa_key, "RS256", "unknown"))
    wait_until(lambda: "jwt.keys_failed" in server.log_text(), 15, "the failure is logged")

    assert teams(server, good).status_code == 200


def test_until_a_key_set_was_read_it_is_503(start_server, issuer, rsa_key):
    issuer.status = 500
    server = start_server(env=settings(jwks=issuer.url, role="viewer"))
    good = signed(rsa_key, "RS256", "r1", email=address(), email_verified=True)

    assert_problem(teams(server, good), 503, "unavailable")
    issuer.status, issuer.keys = 200, [public_jwk(rsa_key, "r1")]
    wait_until(lambda: answers(server, 200, good), 25, "it is read when the issuer is back")


def test_half_a_configuration_ends_the_start_by_name(start_server):
    server = start_server(start=False)
    rows = [({"TESSERA_JWT_ISSUER": ISSUER}, "jwt_audience"),
            (settings(), "jwt_secret or jwt_jwks"),
            (settings(secret=SECRET, jwks="https://id.example.com/keys"), "exclude"),
            (settings(secret="short"), "32 bytes"),
            (settings(jwks="http://id.example.com/keys"), "https://"),
            (settings(jwks="/nonexistent/keys.json"), "jwt_jwks"),
            (settings(secret=SECRET, role="owner"), "jwt_role")]

    for env, word in rows:
        done = server.run("serve", env=env)
        assert done.returncode == 2 and word in done.stderr, (env, done.stderr)

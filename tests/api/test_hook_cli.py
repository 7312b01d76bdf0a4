"""`tessera hook verify`: requests signed here, by Python's hmac and cryptography, are judged."""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from harness.server import find_binary

NOW = 1790000000
VECTORS = json.loads((pathlib.Path(__file__).parents[1] / "data" / "hook_vectors.json").read_text())
BODY = '{"type":"build.done","id":"e-1","text":"Café ☃","action":{"id":"a1","type":"x"}}'.encode()


def run(kind, *args, secrets=(), headers=None, body=None, **options):
    """The finished process; TESSERA_* of the caller and any database are out of its sight."""
    words = [find_binary(), "hook", "verify", kind, *args]
    for secret in secrets:
        words += ["--secret", secret]
    for name, value in (headers or {}).items():
        words += ["--header", f"{name}: {value}"]
    for name, value in options.items():
        words += ["--" + name, str(value)]
    if body is not None:
        words += ["--body", "-"]
    env = {k: v for k, v in os.environ.items() if not k.startswith("TESSERA_")}
    return subprocess.run(words, input=body, capture_output=True, env=env, cwd="/", timeout=30,
                          check=False)


def judge(kind, *args, **kwargs):
    """The verdict, after a check that text, status and streams agree."""
    done = run(kind, "--json", *args, **kwargs)
    said = json.loads(done.stdout)
    assert list(said) == ["valid", "reason", "event_type", "event_key", "handshake"]
    assert done.returncode == (0 if said["valid"] else 1)
    assert (said["reason"] is None) == said["valid"]
    assert done.stderr.decode() == ("" if said["valid"] else
                                    f"tessera: not valid: {said['reason']}\n")
    return said


def mac(secret, *pieces, algorithm="sha256"):
    return hmac.new(secret.encode() if isinstance(secret, str) else secret, b"".join(pieces),
                    algorithm)


def b64(data):
    return base64.b64encode(data).decode()


def standard(key, body=BODY, at=NOW, message="msg_0001"):
    digest = hmac.new(key, f"{message}.{at}.".encode() + body, hashlib.sha256).digest()
    return {"webhook-id": message, "webhook-timestamp": str(at),
            "webhook-signature": "v1," + b64(digest)}


# --- every kind ----------------------------------------------------------------------------------

URL = "https://hooks.example.test/trello/7?x=1"
SIGNERS = {
    "jira": lambda s, b: {"X-Hub-Signature": "sha256=" + mac(s, b).hexdigest()},
    "github": lambda s, b: {"X-Hub-Signature-256": "sha256=" + mac(s, b).hexdigest()},
    "slack": lambda s, b: {"X-Slack-Request-Timestamp": str(NOW), "X-Slack-Signature":
                           "v0=" + mac(s, f"v0:{NOW}:".encode(), b).hexdigest()},
    "trello": lambda s, b: {"X-Trello-Webhook":
                            b64(mac(s, b, URL.encode(), algorithm="sha1").digest())},
    "asana": lambda s, b: {"X-Hook-Signature": mac(s, b).hexdigest()},
    "linear": lambda s, b: {"Linear-Signature": mac(s, b).hexdigest()},
    "notion": lambda s, b: {"X-Notion-Signature": "sha256=" + mac(s, b).hexdigest()},
    "teams": lambda s, b: {"Authorization": "HMAC " + b64(mac(base64.b64decode(s), b).digest())},
    "standard": lambda s, b: standard(base64.b64decode(s), b),
    "hmac": lambda s, b: {"X-Signature": mac(s, b).hexdigest()},
}
SECRET = b64(bytes(range(7, 39)))


def signed_body(kind):
    return (BODY[:-1] + b',"webhookTimestamp":%d}' % (NOW * 1000 + 59000)) if kind == "linear" \
        else BODY


@pytest.mark.parametrize("kind", SIGNERS)
def test_what_python_signs_holds_and_a_changed_byte_does_not(kind):
    body = signed_body(kind)
    ask = dict(secrets=[SECRET], headers=SIGNERS[kind](SECRET, body), url=URL, now=NOW)

    assert judge(kind, body=body, **ask)["valid"]
    for changed in (body[:-1], body + b" ", body.replace(b"done", b"dome"), b""):
        assert not judge(kind, body=changed, **ask)["valid"]
    for name, value in ask["headers"].items():
        flipped = value[:-6] + ("0" if value[-6] != "0" else "1") + value[-5:]
        said = judge(kind, body=body, **{**ask, "headers": {**ask["headers"], name: flipped}})
        assert not said["valid"], name


@pytest.mark.parametrize("kind", SIGNERS)
def test_a_missing_signature_and_another_secret_are_refused(kind):
    body = signed_body(kind)
    headers = SIGNERS[kind](SECRET, body)

    bare = judge(kind, secrets=[SECRET], body=body, url=URL, now=NOW)
    other = judge(kind, secrets=[b64(bytes(32))], headers=headers, body=body, url=URL, now=NOW)

    assert not bare["valid"] and not other["valid"]
    assert "missing" in bare["reason"] or "clientState" in bare["reason"]
    assert "does not match" in other["reason"] and "secret" in other["reason"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_every_vector_holds_and_tells_its_event(vector):
    more = {"url": vector["url"]} if "url" in vector else {}
    if "now_ms" in vector:
        more["now"] = vector["now_ms"]

    said = judge(vector["kind"], secrets=[vector["secret"]], headers=vector["headers"],
                 body=vector["body"].encode(), **more)

    assert said == {"valid": True, "reason": None, "event_type": vector["event_type"],
                    "event_key": vector["event_key"], "handshake": vector.get("handshake")}


def test_ed25519_signatures_of_python_hold():
    key = ed25519.Ed25519PrivateKey.generate()
    public = "whpk_" + b64(key.public_key().public_bytes(
        serialization.Encoding.Raw, serialization.PublicFormat.Raw))
    headers = {"webhook-id": "msg_2", "webhook-timestamp": str(NOW),
               "webhook-signature": "v1,AAAA v1a," + b64(key.sign(f"msg_2.{NOW}.".encode() + BODY))}

    good = judge("standard", secrets=[public], headers=headers, body=BODY, now=NOW)
    bad = judge("standard", secrets=[public], headers=headers, body=BODY + b" ", now=NOW)

    assert good["valid"] and good["event_key"] == "msg_2" and good["event_type"] == "build.done"
    assert not bad["valid"]


# --- time, secrets, bodies -----------------------------------------------------------------------


@pytest.mark.parametrize("now,valid", [
    (NOW + 300, True), (NOW + 301, False), (NOW - 300, True), (NOW - 301, False),
    ((NOW + 300) * 1000, True), ("2026-09-21T14:18:20Z", True), ("2026-09-21T14:18:21Z", False),
])
def test_now_may_be_seconds_milliseconds_or_a_date(now, valid):
    headers = SIGNERS["slack"]("s", BODY)

    said = judge("slack", secrets=["s"], headers=headers, body=BODY, now=now)

    assert said["valid"] == valid
    assert valid or "301 s" in said["reason"] and "300 s are allowed" in said["reason"]


def test_without_now_an_old_request_is_too_old_today():
    said = judge("standard", secrets=[SECRET], body=BODY,
                 headers=standard(base64.b64decode(SECRET), at=1000000000))

    assert not said["valid"] and " s old; 300 s are allowed" in said["reason"]


def test_any_of_several_secrets_may_hold():
    done = run("github", secrets=["old", "new", "other"], body=BODY,
               headers=SIGNERS["github"]("new", BODY))

    assert done.returncode == 0
    assert done.stdout.decode() == "valid\nsecret      2 of 3\n"


def test_the_body_is_read_as_bytes_from_a_file_too(tmp_path):
    body = bytes(range(256)) * 300
    (tmp_path / "body").write_bytes(body)

    said = judge("github", secrets=["s"], headers=SIGNERS["github"]("s", body),
                 **{"body": None}, method="POST")
    assert not said["valid"]
    done = run("github", "--body", str(tmp_path / "body"), secrets=["s"],
               headers=SIGNERS["github"]("s", body))

    assert done.returncode == 0


def test_a_body_of_25_mib_is_read_and_one_byte_more_is_refused():
    body = b"x" * (25 << 20)

    assert judge("github", secrets=["s"], headers=SIGNERS["github"]("s", body), body=body)["valid"]
    said = judge("github", secrets=["s"], headers=SIGNERS["github"]("s", body + b"x"),
                 body=body + b"x")
    assert said["reason"] == "the body is larger than 25 MiB"


def test_the_cause_of_a_broken_signature_is_told():
    headers = SIGNERS["github"]("s", BODY)

    newline = judge("github", secrets=["s"], headers=headers, body=BODY + b"\n")
    parsed = judge("github", secrets=["s"], headers=headers,
                   body=json.dumps(json.loads(BODY), ensure_ascii=False, indent=2).encode())
    url = judge("trello", secrets=["s"], headers=SIGNERS["trello"]("s", BODY), body=BODY,
                url=URL + "/")

    assert "without its last line break" in newline["reason"]
    assert "without white space" in parsed["reason"]
    assert "without the slash at its end" in url["reason"]


# --- senders that are described ------------------------------------------------------------------


def test_a_described_sender_is_judged_by_its_description():
    scheme = json.dumps({"signature_header": "X-Acme", "prefix": "v1=", "algorithm": "sha512",
                         "encoding": "hex", "signed": "{time}|{body}", "time_header": "X-Time",
                         "window_s": 30, "type_path": "action.type", "key_header": "X-Key"})
    headers = {"X-Time": str(NOW), "X-Key": "k-1", "X-Acme": "v1=" + mac(
        "s", f"{NOW}|".encode(), BODY, algorithm="sha512").hexdigest()}
    ask = dict(secrets=["s"], headers=headers, body=BODY, scheme=scheme)

    good = judge("hmac", now=NOW + 30, **ask)
    late = judge("hmac", now=NOW + 31, **ask)
    plain = judge("hmac", **{**ask, "scheme": "{}"})

    assert good["valid"] and (good["event_type"], good["event_key"]) == ("x", "k-1")
    assert "31 s old; 30 s are allowed" in late["reason"]
    assert "header X-Signature is missing" in plain["reason"]


# --- handshakes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kind,ask,name", [
    ("trello", {"method": "HEAD"}, "HEAD"),
    ("teams", {"url": "https://h.test/x?validationToken=Validation%3a+1"}, "validationToken"),
    ("asana", {"headers": {"X-Hook-Secret": "b537207f20cbfa02"}}, "X-Hook-Secret"),
    ("notion", {"body": b'{"verification_token":"secret_abcdef"}'}, "verification_token"),
])
def test_handshakes_are_told_from_events(kind, ask, name):
    said = judge(kind, **ask)

    assert said["handshake"] == name and said["event_type"] == name and said["event_key"] is None


def test_a_handshake_with_a_secret_beside_a_kept_one_is_refused():
    said = judge("asana", secrets=["kept-secret"], headers={"X-Hook-Secret": "b537207f20cbfa02"})

    assert not said["valid"] and "X-Hook-Secret" in said["reason"]


# --- the command line ----------------------------------------------------------------------------


@pytest.mark.parametrize("args,part", [
    (["nosuch"], "there is no kind nosuch; there are jira, github, slack, trello"),
    ([], "usage: tessera hook verify KIND"),
    (["github", "more"], 'unexpected word "more"'),
    (["github", "--secret", ""], "--secret is empty"),
    (["github", "--header", "no colon"], "--header is 'Name: value'"),
    (["github", "--header", ": x"], "--header is 'Name: value'"),
    (["github", "--now", "yesterday"], "--now is a time like"),
    (["github", "--now", "-1"], "--now is a time like"),
    (["github", "--body", "/nonexistent/file"], "cannot read /nonexistent/file: No such file"),
    (["github", "--body", "/"], "cannot read /: Is a directory"),
    (["github", "--scheme", "{}"], "--scheme is for the kind hmac"),
    (["hmac", "--scheme", "{"], "tessera: "),
    (["hmac", "--scheme", '{"time_header":"X-T"}'], "time_header proves nothing"),
    (["github", "--nosuch"], "unknown option --nosuch"),
    (["github"] + ["--secret", "x"] * 9, "--secret: at most 8 of them"),
    (["github"] + ["--header", "a: b"] * 129, "more than 128 options"),
])
def test_a_wrong_command_line_is_status_2(args, part):
    done = subprocess.run([find_binary(), "hook", "verify", *args], capture_output=True, text=True,
                          timeout=30, check=False)

    assert done.returncode == 2
    assert part in done.stderr and done.stdout == ""


def test_a_secret_is_never_printed():
    secret = "planted-" + os.urandom(8).hex()
    for kind in [*SIGNERS, "basic", "bearer"]:
        done = run(kind, secrets=[secret], headers={"Authorization": "Basic eDp5"}, body=BODY)
        assert secret not in done.stdout.decode() + done.stderr.decode()
        assert done.returncode == 1

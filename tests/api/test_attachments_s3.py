"""Attachments in an S3-compatible store: signed, checked, removed; what happens when it fails."""

import hashlib
import os
import uuid

import pytest
from harness import s3 as fake
from harness.client import Api, assert_problem
from harness.jobs import run_now
from harness.truth import value
from harness.wait import SLOW, wait_until


@pytest.fixture
def s3():
    made = fake.S3()
    yield made
    made.close()


@pytest.fixture
def bucket_server(start_server, s3):
    return start_server(s3.env)


@pytest.fixture
def files(bucket_server):
    token = bucket_server.new_token()
    return Api(bucket_server, token["token"], token["id"])


def attach(api, body, ticket_id=None):
    ticket_id = ticket_id or api.create_v1()["id"]
    return api.request("POST", f"/v1/tickets/{ticket_id}/attachments", data=body,
                       headers={"Content-Type": "image/png"})


def most_memory(server):
    """The most that the server ever had resident, in bytes."""
    with open(f"/proc/{server.proc.pid}/status", encoding="ascii") as f:
        [line] = [line for line in f if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10


def content(api, attachment):
    return api.get(f"/v1/attachments/{attachment['id']}/content")


def test_the_checker_knows_the_published_example():
    """The signature of AWS's own documentation ("GET Object", examples of Signature Version 4)."""
    secret = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    headers = {"host": "examplebucket.s3.amazonaws.com", "range": "bytes=0-9",
               "x-amz-content-sha256": hashlib.sha256(b"").hexdigest(),
               "x-amz-date": "20130524T000000Z"}
    request = fake.canonical_request("GET", "/test.txt", headers, sorted(headers),
                                     headers["x-amz-content-sha256"])
    scope = "20130524/us-east-1/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope,
                      hashlib.sha256(request.encode()).hexdigest()])

    assert fake.signature(secret, scope, text) == (
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41")


def test_an_upload_is_one_signed_object_named_by_team_and_hash(files, bucket_server, s3):
    body = os.urandom(1_500_000)

    made = attach(files, body).json()

    team = value(bucket_server, "SELECT team_id FROM attachment WHERE id = ?", made["id"])
    assert s3.refused == []
    [(key, kept)] = s3.objects.items()
    assert kept == body
    assert key.startswith(f"{team}/{made['sha256'][:2]}/{made['sha256']}-")
    assert content(files, made).content == body
    assert s3.refused == []


def test_the_same_content_is_sent_once(files, s3):
    body = uuid.uuid4().bytes

    first, second = attach(files, body).json(), attach(files, body).json()

    assert [method for method, _ in s3.seen] == ["PUT"]
    assert content(files, first).content == content(files, second).content == body


def test_a_removed_content_is_deleted_also_after_a_restart(files, bucket_server, s3):
    ticket = files.create_v1()["id"]
    kept, gone = attach(files, b"kept", ticket).json(), attach(files, b"gone", ticket).json()
    files.delete(f"/v1/attachments/{gone['id']}")

    bucket_server.stop()
    bucket_server.start()
    run_now(bucket_server, "attachments.sweep")

    wait_until(lambda: len(s3.objects) == 1, 10, "the object is deleted")
    assert list(s3.objects.values()) == [b"kept"]
    assert content(Api(bucket_server, files.token), kept).content == b"kept"


@pytest.mark.parametrize("status", [403, 404, 500, 503, 301, 307])
def test_a_store_that_refuses_gives_503_and_no_attachment(files, bucket_server, s3, status):
    ticket = files.create_v1()["id"]
    s3.failures.append(status)

    assert_problem(attach(files, b"x", ticket), 503, "unavailable")

    assert files.get(f"/v1/tickets/{ticket}/attachments").json()["data"] == []
    assert value(bucket_server, "SELECT count(*) FROM blob") == 0
    assert [path for _, path in s3.seen if "elsewhere" in path] == []
    assert attach(files, b"x", ticket).status_code == 201


def test_a_content_that_was_changed_in_the_store_is_not_given_out(files, s3):
    made = attach(files, b"as it was").json()
    for key in s3.objects:
        s3.objects[key] = b"as it is."

    assert_problem(content(files, made), 503, "unavailable")


@pytest.mark.parametrize("kept", [b"as it was, and more", b"as it"])
def test_a_content_of_another_length_is_not_given_out(files, s3, kept):
    made = attach(files, b"as it was").json()
    for key in s3.objects:
        s3.objects[key] = kept

    assert_problem(content(files, made), 503, "unavailable")


@pytest.mark.only_backend("sqlite")
def test_a_content_larger_than_a_call_may_hold_in_memory_goes_both_ways(start_server, s3):
    server = start_server({**s3.env, "TESSERA_ATTACHMENT_MAX_MB": "80"})
    api = Api(server, server.new_token()["token"], check=False)
    body = os.urandom(1 << 20) * 70
    before = most_memory(server)

    made = attach(api, body).json()

    assert content(api, made).content == body
    assert [method for method, _ in s3.seen] == ["PUT", "GET"]
    if SLOW == 1:                                      # sanitizers keep freed memory for a while
        assert most_memory(server) - before < 30 << 20


def test_a_content_that_the_store_lost_is_404(files, s3):
    made = attach(files, b"x").json()
    s3.objects.clear()

    assert_problem(content(files, made), 404, "not_found")


def test_a_store_that_is_away_gives_503_and_the_server_lives(files, bucket_server, s3):
    made = attach(files, b"x").json()
    s3.close()

    assert_problem(content(files, made), 503, "unavailable")
    assert_problem(attach(files, b"y"), 503, "unavailable")

    assert bucket_server.is_running()
    assert files.get(f"/v1/attachments/{made['id']}").status_code == 200


@pytest.mark.parametrize("name, text", [
    ("TESSERA_S3_ENDPOINT", "http://s3.example.com"), ("TESSERA_S3_ENDPOINT", "s3.example.com"),
    ("TESSERA_S3_ENDPOINT", "https://user@s3.example.com"), ("TESSERA_S3_BUCKET", "a/b"),
    ("TESSERA_S3_ENDPOINT", "http://127.0.0.1.example.com"),
    ("TESSERA_S3_REGION", "eu test"), ("TESSERA_S3_ACCESS_KEY", "a:b"),
    ("TESSERA_S3_SECRET_KEY", None)])
def test_a_setting_that_cannot_be_is_named_at_start(make_server, s3, name, text):
    env = {**s3.env, name: text}
    server = make_server({k: v for k, v in env.items() if v is not None}, start=False)
    try:
        done = server.run("serve", timeout_s=10)
        assert done.returncode != 0
        assert name.removeprefix("TESSERA_").lower() in done.stderr
    finally:
        server.close()

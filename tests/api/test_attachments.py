"""Attachments: upload, list, download, delete; limits; who sees them; kept once per team, on disk."""

import hashlib
import os
import uuid

import pytest
from harness.client import Api, assert_problem
from harness.jobs import run_now
from harness.truth import rows, value
from harness.wait import wait_until

ABSENT = "01890000-0000-7000-8000-000000000000"
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(range(256))


@pytest.fixture(scope="module")
def files_server(make_server, tmp_path_factory):
    """A server with a folder of its own for attachments of up to 1 MiB."""
    folder = tmp_path_factory.mktemp("attachments")
    made = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                        "TESSERA_ATTACHMENT_MAX_MB": "1",
                        "TESSERA_TMP_DIR": str(folder)})
    made.folder = folder / "kept"
    yield made
    made.close()


@pytest.fixture
def new_files_api(files_server):
    def make(**kwargs):
        token = files_server.new_token(**kwargs)
        return Api(files_server, token["token"], token["id"])
    return make


@pytest.fixture
def files(new_files_api):
    return new_files_api()


def attach(api, ticket_id, body=PNG, kind="image/png", **query):
    return api.request("POST", f"/v1/tickets/{ticket_id}/attachments", params=query, data=body,
                       headers={"Content-Type": kind} if kind else {})


def attached(api, ticket_id, body=PNG, kind="image/png", **query):
    reply = attach(api, ticket_id, body, kind, **query)
    assert reply.status_code == 201, reply.text
    return reply.json()


def content(api, attachment, **kwargs):
    return api.get(f"/v1/attachments/{attachment['id']}/content", **kwargs)


def objects(server):
    """The files of the store, by their path below its folder."""
    return sorted(os.path.relpath(os.path.join(folder, name), server.folder)
                  for folder, _, names in os.walk(server.folder) for name in names)


def objects_of(server, body):
    sha = hashlib.sha256(body).hexdigest()
    return [path for path in objects(server) if os.path.basename(path).startswith(sha)]


# --- upload ---------------------------------------------------------------------------------------


def test_an_upload_answers_what_was_kept(files):
    ticket = files.create_v1()

    reply = attach(files, ticket["id"], name="scan 1.png")

    assert reply.status_code == 201
    made = reply.json()
    assert reply.headers["Location"] == f"/v1/attachments/{made['id']}"
    assert (made["ticket_id"], made["comment_id"]) == (ticket["id"], None)
    assert (made["name"], made["media_type"], made["size"]) == ("scan 1.png", "image/png", len(PNG))
    assert made["sha256"] == hashlib.sha256(PNG).hexdigest()
    assert (made["created_by_kind"], made["created_by_id"]) == ("key", files.token_id)
    assert files.get(reply.headers["Location"]).json() == made


def test_without_name_and_type_it_is_a_file_of_bytes(files):
    made = attached(files, files.create_v1()["id"], b"x", kind=None)

    assert (made["name"], made["media_type"]) == ("file", "application/octet-stream")


def test_parameters_and_letter_case_of_the_type_are_dropped(files):
    made = attached(files, files.create_v1()["id"], b"x", kind="Text/PLAIN; charset=utf-8")

    assert made["media_type"] == "text/plain"


def test_an_attachment_may_belong_to_a_comment_of_the_ticket(files):
    ticket, other = files.create_v1(), files.create_v1()
    comment = files.post(f"/v1/tickets/{ticket['id']}/comments", {"content": "see"}).json()

    made = attached(files, ticket["id"], comment_id=comment["id"])
    foreign = attach(files, other["id"], comment_id=comment["id"])

    assert made["comment_id"] == comment["id"]
    assert_problem(foreign, 400, "invalid_parameter", ["comment_id"])


@pytest.mark.parametrize("name", ["", "a/b", "a\\b", "..", ".", "a\nb", "n" * 256])
def test_a_name_that_is_no_file_name_is_refused(files, name):
    assert_problem(attach(files, files.create_v1()["id"], name=name), 400, "invalid_parameter",
                   ["name"])


def test_an_empty_file_is_refused(files):
    reply = attach(files, files.create_v1()["id"], b"")

    assert_problem(reply, 422, "invalid_field", ["body"])


@pytest.mark.parametrize("kind", ["png", "image/", "/png", "a b/c", "image/png/x"])
def test_a_content_type_that_is_none_is_415(files, kind):
    assert_problem(attach(files, files.create_v1()["id"], kind=kind), 415, "unsupported_media_type")


def test_one_byte_too_many_is_413_and_leaves_nothing(files, files_server):
    ticket = files.create_v1()
    body = uuid.uuid4().bytes * (1 << 16)
    assert len(body) == 1 << 20

    assert attach(files, ticket["id"], body).status_code == 201
    before = objects(files_server)
    assert_problem(attach(files, ticket["id"], body + b"x"), 413, "payload_too_large")
    chunked = attach(files, ticket["id"], iter([body, b"x"]))

    assert_problem(chunked, 413, "payload_too_large")
    assert objects(files_server) == before


def test_only_the_types_of_the_setting_are_taken(start_server, tmp_path):
    server = start_server({"TESSERA_ATTACHMENT_DIR": str(tmp_path),
                           "TESSERA_ATTACHMENT_TYPES": "image/*, application/pdf"})
    api = Api(server, server.new_token()["token"])
    ticket = api.create_v1()["id"]

    got = {kind: attach(api, ticket, kind=kind).status_code
           for kind in ("image/png", "IMAGE/webp", "application/pdf", "application/zip", "text/html",
                        None)}

    assert got == {"image/png": 201, "IMAGE/webp": 201, "application/pdf": 201,
                   "application/zip": 415, "text/html": 415, None: 415}


@pytest.mark.only_backend("postgres")
def test_without_a_place_the_answer_is_409(start_server):
    server = start_server()
    api = Api(server, server.new_token()["token"])

    assert_problem(attach(api, api.create_v1()["id"]), 409, "not_configured")


@pytest.mark.only_backend("postgres")           # beside SQLite there is always a place
def test_a_place_that_was_taken_away_is_409_and_loses_nothing(start_server, tmp_path):
    server = start_server({"TESSERA_ATTACHMENT_DIR": str(tmp_path)})
    api = Api(server, server.new_token()["token"])
    made = attached(api, api.create_v1()["id"], b"kept")
    for place, status in (("", 409), (str(tmp_path), 200)):
        server.stop()
        server.env["TESSERA_ATTACHMENT_DIR"] = place
        server.start()

        reply = content(Api(server, api.token), made)

        assert reply.status_code == status, (place, reply.text)
    assert reply.content == b"kept"


@pytest.mark.only_backend("sqlite")
def test_without_a_setting_the_place_is_beside_the_database(fresh_server):
    api = Api(fresh_server, fresh_server.new_token()["token"])
    fresh_server.folder = fresh_server.db_path + ".attachments"

    attached(api, api.create_v1()["id"])

    assert len(objects(fresh_server)) == 1


# --- download -------------------------------------------------------------------------------------


def test_a_download_is_the_same_bytes_and_never_a_page(files):
    body = os.urandom(300_000)
    made = attached(files, files.create_v1()["id"], body, "image/png", name="Übersicht 1\".png")

    reply = content(files, made)

    assert reply.status_code == 200
    assert reply.content == body
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["Content-Disposition"] == (
        "attachment; filename=\"_bersicht 1_.png\"; "
        "filename*=UTF-8''%C3%9Cbersicht%201%22.png")
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Content-Security-Policy"].startswith("sandbox")


@pytest.mark.parametrize("kind", ["text/html", "application/xhtml+xml", "image/svg+xml", "text/xml",
                                  "application/javascript", "text/javascript", "text/ecmascript"])
def test_what_a_browser_could_run_is_sent_as_bytes(files, kind):
    made = attached(files, files.create_v1()["id"], b"<script>alert(1)</script>", kind)

    reply = content(files, made)

    assert made["media_type"] == kind
    assert reply.headers["Content-Type"] == "application/octet-stream"
    assert reply.headers["Content-Disposition"].startswith("attachment;")


def test_a_known_etag_is_304(files):
    made = attached(files, files.create_v1()["id"])
    tag = content(files, made).headers["ETag"]

    for known in (tag, "W/" + tag, f'"x", {tag}', "*"):
        same = content(files, made, headers={"If-None-Match": known})
        assert (same.status_code, same.content) == (304, b""), known
    assert content(files, made, headers={"If-None-Match": '"x"'}).status_code == 200


# --- list, get, delete ----------------------------------------------------------------------------


def test_attachments_are_listed_oldest_first_in_pages(files):
    ticket = files.create_v1()["id"]
    made = [attached(files, ticket, name=f"{i}.png")["id"] for i in range(3)]

    first = files.get(f"/v1/tickets/{ticket}/attachments", params={"limit": 2}).json()
    rest = files.get(f"/v1/tickets/{ticket}/attachments",
                     params={"limit": 2, "cursor": first["next_cursor"]}).json()

    assert [a["id"] for a in first["data"] + rest["data"]] == made
    assert rest["next_cursor"] is None


def test_a_deleted_attachment_is_gone(files):
    ticket = files.create_v1()["id"]
    made = attached(files, ticket)

    assert files.delete(f"/v1/attachments/{made['id']}").status_code == 204

    assert_problem(files.get(f"/v1/attachments/{made['id']}"), 404, "not_found")
    assert_problem(content(files, made), 404, "not_found")
    assert_problem(files.delete(f"/v1/attachments/{made['id']}"), 404, "not_found")
    assert files.get(f"/v1/tickets/{ticket}/attachments").json()["data"] == []


def test_the_attachments_of_a_deleted_ticket_are_not_found(files):
    ticket = files.create_v1()["id"]
    made = attached(files, ticket)

    assert files.delete(f"/v1/tickets/{ticket}").status_code == 204

    assert_problem(files.get(f"/v1/attachments/{made['id']}"), 404, "not_found")
    assert_problem(content(files, made), 404, "not_found")
    assert_problem(files.get(f"/v1/tickets/{ticket}/attachments"), 404, "not_found")


def test_deleting_a_comment_takes_its_attachments(files):
    ticket = files.create_v1()["id"]
    comment = files.post(f"/v1/tickets/{ticket}/comments", {"content": "see"}).json()["id"]
    made = attached(files, ticket, comment_id=comment)

    assert files.delete(f"/v1/tickets/{ticket}/comments/{comment}").status_code == 204

    assert_problem(files.get(f"/v1/attachments/{made['id']}"), 404, "not_found")


def test_the_history_tells_of_attachments(files):
    ticket = files.create_v1()["id"]
    made = attached(files, ticket, name="a.png")
    files.delete(f"/v1/attachments/{made['id']}")

    history = files.get(f"/v1/tickets/{ticket}/activity").json()["data"]

    told = {"id": made["id"], "name": "a.png"}
    assert [(a["action"], a["changes"]) for a in history] == [
        ("attachment_removed", [{"field": "attachment", "from": told, "to": None}]),
        ("attachment_added", [{"field": "attachment", "from": None, "to": told}])]


# --- who ------------------------------------------------------------------------------------------


def test_another_key_sees_nothing(files, new_files_api):
    other = new_files_api()
    ticket = files.create_v1()["id"]
    made = attached(files, ticket)

    for reply in (other.get(f"/v1/attachments/{made['id']}"), content(other, made),
                  other.delete(f"/v1/attachments/{made['id']}"),
                  other.get(f"/v1/tickets/{ticket}/attachments"), attach(other, ticket)):
        assert_problem(reply, 404, "not_found")
    assert content(files, made).content == PNG


def test_a_key_with_admin_full_sees_those_of_its_team(files, new_files_api):
    made = attached(files, files.create_v1()["id"])

    assert content(new_files_api(scopes=["admin:full"]), made).content == PNG


def test_attachments_of_internal_comments_of_others_are_hidden(files, new_files_api):
    admin = new_files_api(scopes=["admin:full"])
    ticket = files.create_v1()["id"]
    comment = admin.post(f"/v1/tickets/{ticket}/comments",
                         {"content": "between us", "is_internal": True}).json()["id"]
    made = attached(admin, ticket, comment_id=comment, name="secret.png")

    assert_problem(files.get(f"/v1/attachments/{made['id']}"), 404, "not_found")
    assert_problem(content(files, made), 404, "not_found")
    assert files.get(f"/v1/tickets/{ticket}/attachments").json()["data"] == []
    assert_problem(attach(files, ticket, comment_id=comment), 400, "invalid_parameter")
    assert "secret" not in files.get(f"/v1/tickets/{ticket}/activity").text


def test_each_call_needs_its_scope(files, new_files_api):
    made = attached(files, files.create_v1()["id"])
    reader, writer = new_files_api(scopes=["tickets:read"]), new_files_api(scopes=["tickets:write"])

    for reply, scope in ((attach(reader, made["ticket_id"]), "tickets:comment"),
                         (reader.delete(f"/v1/attachments/{made['id']}"), "tickets:write"),
                         (writer.get(f"/v1/attachments/{made['id']}"), "tickets:read"),
                         (content(writer, made), "tickets:read"),
                         (writer.get(f"/v1/tickets/{made['ticket_id']}/attachments"),
                          "tickets:read")):
        assert scope in assert_problem(reply, 403, "insufficient_scope")["detail"]


def test_without_a_token_every_call_is_401(files, files_server):
    made = attached(files, files.create_v1()["id"])
    nobody = Api(files_server)

    for reply in (attach(nobody, made["ticket_id"]), content(nobody, made),
                  nobody.get(f"/v1/attachments/{made['id']}"),
                  nobody.delete(f"/v1/attachments/{made['id']}"),
                  nobody.get(f"/v1/tickets/{made['ticket_id']}/attachments")):
        assert_problem(reply, 401, "missing_token")


def test_what_is_no_id_is_named(files):
    assert_problem(files.get("/v1/attachments/1"), 400, "invalid_parameter", ["attachment_id"])
    assert_problem(files.get("/v1/attachments/1/content"), 400, "invalid_parameter",
                   ["attachment_id"])
    assert_problem(files.delete("/v1/attachments/1"), 400, "invalid_parameter", ["attachment_id"])
    assert_problem(attach(files, "1"), 400, "invalid_parameter", ["ticket_id"])
    assert_problem(attach(files, ABSENT), 404, "not_found")


# --- the store ------------------------------------------------------------------------------------


def test_the_same_content_is_kept_once_until_the_last_goes(files, files_server):
    body = uuid.uuid4().bytes
    first = attached(files, files.create_v1()["id"], body)
    second = attached(files, files.create_v1()["id"], body)
    assert len(objects_of(files_server, body)) == 1

    files.delete(f"/v1/attachments/{first['id']}")
    assert content(files, second).content == body
    sha = hashlib.sha256(body).hexdigest()
    assert value(files_server, "SELECT count(*) FROM blob WHERE sha256 = ?", sha) == 1
    files.delete(f"/v1/attachments/{second['id']}")

    assert value(files_server, "SELECT count(*) FROM blob WHERE sha256 = ?", sha) == 0
    assert value(files_server, "SELECT count(*) FROM blob_loose WHERE sha256 = ?", sha) == 1


def test_a_content_that_went_can_come_again(files, files_server):
    body = uuid.uuid4().bytes
    ticket = files.create_v1()["id"]
    for _ in range(2):
        made = attached(files, ticket, body)
        files.delete(f"/v1/attachments/{made['id']}")

    again = attached(files, ticket, body)

    assert content(files, again).content == body


def test_removed_contents_are_swept_also_after_a_restart(start_server, tmp_path):
    server = start_server({"TESSERA_ATTACHMENT_DIR": str(tmp_path)})
    server.folder = tmp_path
    api = Api(server, server.new_token()["token"])
    ticket = api.create_v1()["id"]
    kept, gone = attached(api, ticket, b"kept"), attached(api, ticket, b"gone")
    api.delete(f"/v1/attachments/{gone['id']}")
    assert len(objects(server)) == 2

    server.stop()
    server.start()
    run_now(server, "attachments.sweep")

    wait_until(lambda: rows(server, "SELECT count(*) FROM blob_loose") == [(0,)], 10, "a sweep")
    assert len(objects(server)) == 1
    assert content(Api(server, api.token), kept).content == b"kept"

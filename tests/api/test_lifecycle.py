"""Start, stop, reload, probes, backup, settings: the life of the process around the API."""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import stat
import subprocess
import threading
import time

import pytest
from harness import truth
from harness.client import Api
from harness.load import Load
from harness.rawhttp import RawClient, exchange, head
from harness.server import V0, Refused, Server
from harness.wait import wait_until


# --- stop and reload -----------------------------------------------------------------------------


def test_sigterm_under_load_loses_no_acknowledged_write(fresh_server):
    token = fresh_server.new_token()["token"]
    with Load(fresh_server, token) as load:
        took = fresh_server.stop()

    assert took < 10
    assert not load.odd
    assert set(load.acked) <= truth.ticket_ids(fresh_server)
    fresh_server.start()
    api = Api(fresh_server, token)
    for ticket_id in load.acked[-20:]:
        api.get_v0(ticket_id)


def test_sigterm_with_idle_and_half_sent_requests_ends_in_time(start_server):
    server = start_server(env={"TESSERA_DRAIN_TIMEOUT_S": "3"})
    token = server.new_token()["token"]
    raws = [RawClient(server) for _ in range(30)]
    for i, raw in enumerate(raws):
        if i % 3 == 1:
            raw.send(head("GET", V0, token)[:40])
        elif i % 3 == 2:
            raw.send(head("POST", V0 + "/tickets", token, "Content-Length: 100") + b'{"ti')

    assert server.stop() < 6
    for raw in raws:
        raw.sock.close()


def test_requests_that_end_with_the_drain_do_no_harm(start_server):
    server = start_server(env={"TESSERA_DRAIN_TIMEOUT_S": "1",
                               "TESSERA_MAX_CONNECTIONS_PER_IP": "300"})
    token = server.new_token()["token"]
    body = b'{"title":"late"}'
    raws = [RawClient(server) for _ in range(200)]
    for raw in raws:
        raw.send(head("POST", "/v1/tickets", token, f"Content-Length: {len(body)}") + body[:-1])

    server.proc.send_signal(signal.SIGTERM)
    for raw in raws:                        # one about every 6 ms: on both sides of the drain's end
        raw.send(body[-1:])
        try:
            server.proc.wait(0.006)
        except subprocess.TimeoutExpired:
            continue
        break

    assert server.proc.wait(10) == 0
    for raw in raws:
        raw.sock.close()


def test_it_stops_cleanly_while_connections_are_being_opened(fresh_server):
    """The event threads must not be in the way of each other when the listening socket goes."""
    def knock():
        while not over.is_set():
            try:
                with RawClient(fresh_server) as raw:
                    raw.send(head("GET", "/healthz"))
                    raw.read_reply(1)
            except OSError:
                over.wait(0.001)

    fresh_server.env["TESSERA_EVENT_THREADS"] = "4"
    for cycle in range(30 if fresh_server.backend == "sqlite" else 5):
        if not fresh_server.is_running():
            fresh_server.start()
        over = threading.Event()
        threads = [threading.Thread(target=knock) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            wait_until(lambda: fresh_server.probe("/healthz") == 200, 5, "it answers among them")
            fresh_server.stop()                      # fails unless the exit status is 0
        finally:
            over.set()
            for thread in threads:
                thread.join()
        assert "Fatal error" not in fresh_server.log_text(), f"cycle {cycle}"


def test_new_clients_are_refused_while_it_drains(start_server):
    server = start_server(env={"TESSERA_DRAIN_TIMEOUT_S": "5"})
    token = server.new_token()["token"]
    with RawClient(server) as slow:
        slow.send(head("POST", "/v1/tickets", token, "Content-Length: 16") + b'{"title":')
        wait_until(lambda: 'in_flight 2' in Api(server, token).get("/metrics").text, 5,
                   "the half request and this one are seen")
        server.proc.send_signal(signal.SIGTERM)

        def is_refused():
            try:
                socket.create_connection((server.host, server.port), timeout=5).close()
            except ConnectionRefusedError:
                return True
            except ConnectionResetError:     # in the moment of the closing
                pass
            return False
        wait_until(is_refused, 2, "a new client is refused")
        assert server.is_running()

        slow.send(b'"late"}')
        assert slow.read_reply().status == 201
    assert server.proc.wait(10) == 0


def test_sigint_stops_it_like_sigterm(fresh_server):
    fresh_server.proc.send_signal(signal.SIGINT)

    assert fresh_server.proc.wait(10) == 0


def test_sighup_keeps_serving_and_reloads_the_log_level(make_server, tmp_path):
    config = tmp_path / "tessera.conf"
    config.write_text("log_level = error\n")
    server = make_server(args=["--config", str(config)])
    try:
        token = server.new_token()["token"]
        config.write_text("log_level = debug\n")
        before = len(server.log_text())
        with Load(server, token, 2) as load:
            server.hangup()
            wait_until(lambda: len(server.log_text()) > before, 5, "debug lines appear")
        assert server.is_running() and not load.odd
    finally:
        server.close()


def test_a_second_server_on_the_same_port_refuses_to_start(server, tmp_path):
    second = Server("sqlite", folder=str(tmp_path))
    second.port = server.port

    done = second.run("serve", env={"TESSERA_LISTEN": f"127.0.0.1:{server.port}"}, timeout_s=10)

    assert done.returncode == 1
    assert str(server.port) in done.stderr + done.stdout
    assert server.probe("/healthz") == 200


def test_restart_on_the_same_database_keeps_everything(fresh_server):
    token = fresh_server.new_token()["token"]
    ticket = Api(fresh_server, token).create_v0("kept", metadata={"n": 1.5})
    fresh_server.stop()
    fresh_server.start()

    assert Api(fresh_server, token).get_v0(ticket["id"])["metadata"] == {"n": 1.5}


def test_the_first_run_prints_a_token_and_a_curl_line_that_works_once(make_server, tmp_path):
    migrated = make_server(start=False)
    database = migrated.database and migrated.database.cluster.new_database()
    first = Server(migrated.backend, database, {"TESSERA_FIRST_RUN": "true"},
                   folder=str(tmp_path))
    try:
        first.start()
        text = wait_until(lambda: "stk_" in first.log_text() and first.log_text(), 5, "printed")
        command = re.search(r"curl -s .*?(?=\n\s*\n)", text, re.S).group()
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20,
                              env=first.env, check=True)
        assert json.loads(done.stdout)["ticket"]["title"]
        assert text.count("stk_") == 2                    # alone and in the curl line

        first.stop()
        first.start()
        assert first.log_text().count("stk_") == 2
    finally:
        first.close()
        migrated.close()


# --- probes and documents ------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json"])
def test_probes_need_no_token_and_ignore_a_wrong_one(server, anonymous, path):
    assert anonymous.get(path).status_code == 200
    assert Api(server, "stk_wrong").get(path).status_code == 200
    assert anonymous.request("POST", path).status_code == 405


def test_metrics_are_prometheus_text(server, api):
    api.get(V0)
    reply = api.get("/metrics")

    assert reply.headers["Content-Type"].startswith("text/plain")
    names = set()
    for line in reply.text.splitlines():
        if line.startswith("#") or not line:
            continue
        match = re.fullmatch(r'([a-zA-Z_:][\w:]*)(\{(?:\w+="(?:[^"\\]|\\.)*",?)*\})? '
                             r'(NaN|[+-]?Inf|[-+0-9.eE]+)', line)
        assert match, f"not Prometheus text: {line!r}"
        names.add(match.group(1))
    assert any(n.startswith("tessera_") for n in names)
    assert api.token not in reply.text


def test_openapi_is_3_1_and_served_as_the_command_prints_it(server, anonymous):
    served = anonymous.get("/openapi.json").json()

    assert served["openapi"].startswith("3.1")
    assert json.loads(server.cli("openapi")) == served


def test_openapi_describes_every_route_well(anonymous):
    document = anonymous.get("/openapi.json").json()
    ids = []
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            where = f"{method} {path}"
            ids.append(operation["operationId"])
            assert operation["summary"] and operation["tags"], where
            assert any(code.startswith("2") for code in operation["responses"]), where
            named = {p["name"] for p in operation.get("parameters", []) + item.get("parameters", [])
                     if p.get("in") == "path"}
            assert named == set(re.findall(r"{([^}]+)}", path)), where
            if path.startswith((V0, "/v1/")):
                is_public = operation.get("security") == []
                wanted = {"500"} if is_public else {"401", "429", "500"}
                assert wanted <= set(operation["responses"]), where
    assert len(ids) == len(set(ids))
    assert {V0 + "/tickets", "/v1/tickets", "/v1/tickets/bulk"} <= set(document["paths"])


def test_the_reference_page_needs_nothing_from_elsewhere(anonymous):
    reply = anonymous.get("/docs")

    assert reply.status_code == 200
    assert reply.headers["Content-Type"].startswith("text/html")
    loads = re.findall(r"""(?:src|href)=["']?(https?:)?//[^"'> ]+""", reply.text)
    assert not loads, loads
    parts = re.findall(r"""(?:src|href)=["']?(/docs/[^"'> ]+)""", reply.text)
    assert parts
    for part in parts:
        assert anonymous.get(part).status_code == 200, part
    assert anonymous.get("/docs/nothing.js").status_code == 404


def test_serve_alone_brings_an_empty_database_up_to_date(make_server, tmp_path):
    migrated = make_server(start=False)
    database = migrated.database and migrated.database.cluster.new_database()
    empty = Server(migrated.backend, database, folder=str(tmp_path))
    try:
        empty.start()
        assert empty.probe("/healthz") == 200
        assert empty.try_token(empty.new_token()["token"]) == 200
    finally:
        empty.close()
        migrated.close()


def test_migrate_twice_changes_nothing(fresh_server):
    first = fresh_server.run("migrate")
    second = fresh_server.run("migrate")

    assert (first.returncode, second.returncode) == (0, 0)


def test_version_names_the_program(server):
    assert re.search(r"tessera v?\d+\.\d+", server.cli("version"), re.I)


@pytest.mark.parametrize("args", [["nonsense"], ["token"], ["token", "nonsense"], [],
                                  ["serve", "--nonsense"], ["backup"]])
def test_wrong_usage_is_exit_2_with_words(server, args):
    done = server.run(*args)

    assert done.returncode == 2
    assert "tessera" in done.stderr.lower()


# --- TLS -----------------------------------------------------------------------------------------


def make_certificate(folder, name):
    """A self-made certificate for localhost; (cert, key)."""
    cert, key = folder / "cert.pem", folder / "key.pem"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-keyout", str(key), "-out", str(cert)], check=True, capture_output=True)
    return cert, key


def subject(server):
    """The name in the certificate that the server shows now."""
    with RawClient(server, tls=True) as raw:
        der = raw.sock.getpeercert(binary_form=True)
    pem = ssl.DER_cert_to_PEM_cert(der)
    done = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=pem, text=True,
                          capture_output=True, check=True)
    return done.stdout.strip().split("=")[-1].strip()


@pytest.fixture
def tls_server(make_server, tmp_path):
    cert, key = make_certificate(tmp_path, "first")
    server = make_server(args=["--tls-cert", str(cert), "--tls-key", str(key)], start=False)
    server.scheme = "https"
    try:
        yield server.start()
    finally:
        server.close()


def test_tls_serves_the_api_and_refuses_plain_http(tls_server):
    token = tls_server.new_token()["token"]
    assert Api(tls_server, token).create_v0("over TLS")["title"] == "over TLS"
    assert subject(tls_server) == "first"

    reply, closed = exchange(tls_server, head("GET", V0, token))
    assert closed and (reply is None or reply.status >= 400)


def test_sighup_takes_a_new_certificate_without_dropping_connections(tls_server, tmp_path):
    token = tls_server.new_token()["token"]
    kept = Api(tls_server, token)
    kept.get(V0)

    make_certificate(tmp_path, "second")
    tls_server.hangup()

    wait_until(lambda: subject(tls_server) == "second", 5, "the new certificate is shown")
    assert kept.get(V0).status_code == 200


def test_a_broken_certificate_on_sighup_keeps_the_old_one(tls_server, tmp_path):
    (tmp_path / "cert.pem").write_text("nonsense")
    before = len(tls_server.log_text())
    tls_server.hangup()

    wait_until(lambda: len(tls_server.log_text()) > before, 5, "the failure is logged")
    assert subject(tls_server) == "first"


# --- trusted proxies -----------------------------------------------------------------------------


def address_in_usage(server, headers):
    made = server.new_token()
    Api(server, made["token"]).get(V0, headers=headers)
    return truth.wait_usage(server, made["id"], 2)[-1]["ip_address"]


def test_forwarded_addresses_count_only_from_trusted_proxies(server, start_server):
    claimed = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
    assert address_in_usage(server, claimed) == "127.0.0.1"

    trusting = start_server(env={"TESSERA_TRUSTED_PROXIES": "127.0.0.0/8"})
    # The nearest address that is no trusted proxy: what stands further left anyone can write.
    assert address_in_usage(trusting, claimed) == "203.0.113.9"
    assert address_in_usage(trusting, {"X-Forwarded-For": "198.51.100.7, 127.0.0.9"}) == (
        "198.51.100.7")
    assert address_in_usage(trusting, {"X-Forwarded-For": "nonsense"}) == "127.0.0.1"


# --- backup --------------------------------------------------------------------------------------


def test_backup_while_writing_is_a_consistent_copy_that_starts(fresh_server, make_server, tmp_path):
    token = fresh_server.new_token()["token"]
    copy = tmp_path / "copy.backup"
    with Load(fresh_server, token) as load:
        before = list(load.acked)
        fresh_server.cli("backup", str(copy))
        wait_until(lambda: len(load.acked) > len(before), 10, "writes go on")

    assert copy.stat().st_size > 0
    restored = make_server(start=False)
    try:
        if fresh_server.backend == "sqlite":
            with sqlite3.connect(copy) as conn:
                assert conn.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            for leftover in ("", "-wal", "-shm"):
                if os.path.exists(restored.db_path + leftover):
                    os.unlink(restored.db_path + leftover)
            shutil.copy(copy, restored.db_path)
        else:
            restored.database = restored.database.cluster.new_database()
            restored.env["TESSERA_DATABASE"] = restored.database_url
            cluster = restored.database.cluster
            shutil.copy(copy, cluster.dir)
            moved = os.path.join(cluster.dir, copy.name)
            cluster.give(moved)
            cluster.run("pg_restore", "--no-owner", "--exit-on-error", "-d",
                        restored.database.url, moved)
        restored.start()
        truth.check_integrity(restored)
        assert set(before) <= truth.ticket_ids(restored)
        assert Api(restored, token).get_v0(before[0])["title"] == "load"
        Api(restored, token).create_v0("life goes on")
    finally:
        restored.close()


def test_backup_does_not_overwrite_a_file(server, tmp_path):
    there = tmp_path / "there"
    there.write_text("precious")

    with pytest.raises(Refused):
        server.cli("backup", str(there))
    assert there.read_text() == "precious"


# --- settings ------------------------------------------------------------------------------------


def explain(server, *args, env=None):
    """{key: (value, source)} of `config --explain`."""
    out = {}
    for line in server.cli("config", "--explain", *args, env=env).splitlines():
        match = re.match(r"(\w+)\s*=\s*(.*?)\s+\((\w+)[^)]*\)", line)
        if match:
            out[match.group(1)] = (match.group(2), match.group(3))
    return out


def test_settings_come_from_default_file_environment_flag_in_that_order(server, tmp_path):
    config = tmp_path / "c.conf"
    config.write_text("# comment\nidle_timeout_s = 41\nbody_timeout_s = 42\n"
                      "header_timeout_s = 43\n")
    env = {"TESSERA_BODY_TIMEOUT_S": "52", "TESSERA_HEADER_TIMEOUT_S": "53"}

    got = explain(server, "--config", str(config), "--header-timeout-s", "63", env=env)

    assert got["idle_timeout_s"] == ("41", "file")
    assert got["body_timeout_s"][0] == "52" and got["body_timeout_s"][1].startswith("env")
    assert got["header_timeout_s"] == ("63", "flag")
    assert got["log_level"][1] == "default"


def test_explain_masks_secrets(server):
    text = server.cli("config", "--explain")

    assert server.env["TESSERA_MASTER_KEY"] not in text
    assert "***" in text
    if server.database:
        assert server.database.password not in text


@pytest.mark.parametrize("env,word", [
    ({"TESSERA_BODY_TIMEOUT_S": "soon"}, "body_timeout_s"),
    ({"TESSERA_LOG_LEVEL": "loud"}, "log_level"),
    ({"TESSERA_NONSENSE": "1"}, "nonsense"),
    ({"TESSERA_MASTER_KEY": "abc"}, "master_key"),
    ({"TESSERA_LISTEN": "127.0.0.1:99999"}, "listen"),
    ({"TESSERA_DATABASE": "mysql://x"}, "database"),
])
def test_a_wrong_setting_refuses_to_start_and_is_named(server, env, word):
    done = server.run("serve", env={"TESSERA_LISTEN": "127.0.0.1:0", **env}, timeout_s=10)

    assert done.returncode in (1, 2)
    assert word in (done.stderr + done.stdout).lower()


def test_the_master_key_may_be_a_file(make_server, tmp_path):
    key = tmp_path / "master.key"
    key.write_text("ab" * 32 + "\n")
    key.chmod(0o600)
    server = make_server(env={"TESSERA_MASTER_KEY": str(key)})
    try:
        assert server.try_token(server.new_token()["token"]) == 200
    finally:
        server.close()


@pytest.mark.only_backend("sqlite")
def test_the_database_file_is_not_for_others_to_read(fresh_server):
    mode = stat.S_IMODE(os.stat(fresh_server.db_path).st_mode)

    assert mode & 0o077 == 0, oct(mode)


def test_it_answers_soon_after_its_start_on_an_existing_database(fresh_server):
    fresh_server.stop()
    began = time.monotonic()
    fresh_server.start()

    # The bench measures the real number (150 ms); here only that nothing waits for seconds.
    assert time.monotonic() - began < 3

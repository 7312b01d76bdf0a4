"""`tessera token …` beside a running server: every command is honoured within a second."""

import hashlib
import json
import re

import pytest
from harness import truth
from harness.client import Api, assert_problem, assert_v0_error
from harness.server import V0, Refused
from harness.wait import stays_true, wait_until


def listed(server):
    """`token list --json` by id."""
    found = server.cli_json("token", "list")
    return {t["id"]: t for t in (found["data"] if isinstance(found, dict) else found)}


def shown(server, token_id):
    return server.cli_json("token", "show", token_id)


# --- create --------------------------------------------------------------------------------------


def test_create_prints_id_secret_and_prefix(server):
    made = server.new_token("made")

    assert re.fullmatch(r"stk_live_[A-Za-z0-9]{30}_[A-Za-z0-9]{6}", made["token"])
    assert made["prefix"] == made["token"][:13]
    assert made["masked"] == "stk_…" + made["token"][-4:]
    assert made["name"] == "made" and made["id"]


def test_a_new_token_works_within_a_second(server):
    made = server.new_token(wait=False)

    server.wait_token(made["token"], {200})


def test_only_the_hash_and_the_prefix_are_stored(server):
    made = server.new_token("stored")

    row = truth.rows(server, "SELECT * FROM integration_tokens WHERE id = ?", made["id"])[0]

    assert made["token"] not in str(row)
    assert made["token"][4:] not in str(row)
    assert hashlib.sha256(made["token"].encode()).hexdigest() in row
    assert made["prefix"] in row


def test_the_secret_is_shown_once_and_never_logged(server):
    made = server.new_token("once")
    Api(server, made["token"]).create_v0()

    assert made["token"] not in server.cli("token", "show", made["id"])
    assert made["token"] not in server.cli("token", "show", made["id"], "--json")
    assert made["token"] not in server.cli("token", "list", "--json")
    assert made["token"] not in server.log_text()


def test_without_a_rate_limit_it_is_1000_an_hour(server):
    made = server.cli_json("token", "create", "--name", "default")

    assert shown(server, made["id"])["rate_limit"] == 1000


def test_every_field_of_a_token_is_kept(server):
    made = server.new_token(
        "full", rate_limit=77, scopes=["tickets:read"], expires_in="90d",
        extra=["--description", "for the tests", "--metadata", '{"owner":"ops"}',
               "--allowed-endpoints", f"GET {V0}*,GET /v1/*", "--allowed-ips",
               "127.0.0.0/8,::1", "--limit", "burst=50/10s, day=10000/1d"])

    token = shown(server, made["id"])

    assert (token["name"], token["description"], token["rate_limit"]) == (
        "full", "for the tests", 77)
    assert token["scopes"] == ["tickets:read"]
    assert token["metadata"] == {"owner": "ops"}
    assert token["limits"] == [{"name": "burst", "requests": 50, "window": 10000},
                               {"name": "day", "requests": 10000, "window": 86400000}]
    assert "50 in 10 s (burst)" in server.cli("token", "show", made["id"])
    assert token["allowed_endpoints"] == [f"GET {V0}*", "GET /v1/*"]
    assert token["allowed_ips"] == ["127.0.0.0/8", "::1"]
    assert token["status"] == "active" and token["expires_at"] > token["created_at"]
    assert token["last_used_at"] is None or token["use_count"] >= 1


@pytest.mark.parametrize("args", [
    ["--name", ""], ["--name", "x", "--rate-limit", "0"], ["--name", "x", "--rate-limit", "-5"],
    ["--name", "x", "--rate-limit", "many"], ["--name", "x", "--expires-in", "soon"],
    ["--name", "x", "--scopes", "nonsense:read"], ["--name", "x", "--allowed-ips", "300.1.1.1"],
    ["--name", "x", "--metadata", "[1]"], ["--name", "x", "--unknown", "1"], [],
    ["--name", "x", "--limit", "burst"], ["--name", "x", "--limit", "burst=5"],
    ["--name", "x", "--limit", "burst=5/soon"], ["--name", "x", "--limit", "BURST=5/1s"],
    ["--name", "x", "--limit", "hour=5/1s"], ["--name", "x", "--limit", "a=1/1s,a=2/2s"],
    ["--name", "x", "--limit", "a=0/1s"], ["--name", "x", "--limit", "a=1/100ms"],
    ["--name", "x", "--limit", ""],
])
def test_wrong_arguments_are_refused_and_make_no_token(server, args):
    before = len(listed(server))

    done = server.run("token", "create", *args, "--json")

    assert done.returncode in (1, 2)
    assert done.stderr.strip() and "Sanitizer" not in done.stderr
    assert len(listed(server)) == before


def test_last_used_and_use_count_move(server, new_api):
    api = new_api()
    for _ in range(5):
        api.get(V0)

    token = wait_until(lambda: (t := shown(server, api.token_id))["use_count"] >= 6 and t, 4,
                       "the six requests are counted")
    assert token["last_used_at"] >= token["created_at"]
    assert token["use_count"] == 6


# --- list and show -------------------------------------------------------------------------------


def test_list_and_show_agree(server):
    made = server.new_token("listed")

    assert listed(server)[made["id"]]["name"] == "listed"
    assert shown(server, made["id"])["prefix"] == made["prefix"]
    assert made["prefix"] in server.cli("token", "list")


@pytest.mark.parametrize("verb", ["show", "enable", "disable", "regenerate", "delete"])
def test_unknown_ids_are_refused(server, verb):
    for unknown in ("01890000-0000-7000-8000-000000000000", "nonsense"):
        with pytest.raises(Refused) as refused:
            server.cli("token", verb, unknown)
        assert refused.value.returncode == 1
        assert refused.value.stderr.strip()


# --- disable, enable -----------------------------------------------------------------------------


def test_disable_and_enable_are_honoured_within_a_second(server, new_api):
    api = new_api()

    server.cli("token", "disable", api.token_id)
    server.wait_token(api.token, {401})
    assert shown(server, api.token_id)["status"] == "disabled"

    server.cli("token", "enable", api.token_id)
    server.wait_token(api.token, {200})
    assert shown(server, api.token_id)["status"] == "active"


# --- regenerate ----------------------------------------------------------------------------------


def test_regenerate_kills_the_old_secret_at_once(server, new_api):
    api = new_api()
    ticket = api.create_v0()

    made = server.cli_json("token", "regenerate", api.token_id)

    assert made["id"] == api.token_id and made["token"] != api.token
    server.wait_token(api.token, {401})
    server.wait_token(made["token"], {200})
    assert Api(server, made["token"]).get_v0(ticket["id"])["id"] == ticket["id"]


def test_regenerate_with_grace_keeps_both_secrets_until_it_ends(server, new_api):
    api = new_api()

    made = server.cli_json("token", "regenerate", api.token_id, "--grace", "3s")

    server.wait_token(made["token"], {200})
    stays_true(lambda: server.try_token(api.token) == 200, 0.8, "the old secret works")
    server.wait_token(api.token, {401}, timeout_s=5.0)
    assert server.try_token(made["token"]) == 200


# --- delete --------------------------------------------------------------------------------------


def test_delete_revokes_and_takes_the_usage_rows_with_it(server, new_api):
    api = new_api()
    api.create_v0()
    truth.wait_usage(server, api.token_id, 2)

    server.cli("token", "delete", api.token_id)

    server.wait_token(api.token, {401})
    assert api.token_id not in listed(server)
    wait_until(lambda: not [r for r in truth.usage_rows(server, api.token_id)
                            if r["status_code"] in (200, 201)], 5, "the usage rows are gone")


def test_delete_can_keep_the_usage_rows(server, new_api):
    api = new_api()
    api.create_v0()
    before = len(truth.wait_usage(server, api.token_id, 2))

    server.cli("token", "delete", api.token_id, "--keep-usage")

    server.wait_token(api.token, {401})
    stays_true(lambda: len(truth.usage_rows(server, api.token_id)) >= before, 1.0, "rows stay")


def test_delete_keeps_the_tickets(server, new_api):
    api = new_api()
    ticket = api.create_v0("orphan")

    server.cli("token", "delete", api.token_id)

    assert truth.value(server, "SELECT title FROM tickets WHERE id = ?", ticket["id"]) == "orphan"


def test_a_deleted_token_cannot_come_back(server, new_api):
    api = new_api()
    server.cli("token", "delete", api.token_id)

    for verb in ("enable", "regenerate", "delete"):
        with pytest.raises(Refused):
            server.cli("token", verb, api.token_id)


# --- what a token may do -------------------------------------------------------------------------


def test_scopes_bound_what_a_token_may_do(server):
    reader = server.new_token(scopes=["tickets:read"])
    api = Api(server, reader["token"])

    assert api.list_v1()["data"] == []
    assert_problem(api.post("/v1/tickets", {"title": "x"}), 403, "insufficient_scope")
    body = assert_v0_error(api.post(V0 + "/tickets", {"title": "x"}), 403, "insufficient_scope")
    assert "tickets:write" in str(body)


def test_each_scope_opens_its_own_calls(server, new_api):
    writer = new_api(scopes=["tickets:write"])
    made = writer.create_v1("x")
    path = f"/v1/tickets/{made['id']}"

    assert_problem(writer.get(path), 403, "insufficient_scope")
    assert_problem(writer.post(path + "/comments", {"content": "x"}), 403, "insufficient_scope")
    assert_problem(writer.patch(path, {"status": "closed"}), 403, "insufficient_scope")
    assert writer.patch(path, {"status": "waiting"}).status_code == 200


def test_a_scope_wildcard_stands_for_every_scope_of_its_noun(server, new_api):
    api = new_api(scopes=["tickets:*"])
    made = api.create_v1("x")

    assert api.get(f"/v1/tickets/{made['id']}").status_code == 200
    assert api.patch(f"/v1/tickets/{made['id']}", {"status": "closed"}).status_code == 200
    assert "admin:full" not in shown(server, api.token_id)["scopes"]


def test_a_token_without_named_scopes_may_use_the_whole_ticket_api(new_api):
    api = new_api()
    ticket = api.create_v0()
    path = f"{V0}/tickets/{ticket['id']}"

    assert api.get(path).status_code == 200
    assert api.post(path + "/comments", {"content": "x"}).status_code == 201
    assert api.patch(path + "/status", {"status": "closed"}).status_code == 200
    assert api.delete(f"/v1/tickets/{ticket['id']}").status_code == 204


def test_allowed_ips_bound_where_a_token_works(server):
    here = server.new_token(extra=["--allowed-ips", "127.0.0.1/32"], wait=False)
    elsewhere = server.new_token(extra=["--allowed-ips", "10.0.0.0/8,2001:db8::/32"], wait=False)

    server.wait_token(here["token"], {200})
    server.wait_token(elsewhere["token"], {403})
    assert_v0_error(Api(server, elsewhere["token"]).get(V0), 403, "address_not_allowed")


def test_allowed_endpoints_bound_what_a_token_calls(server):
    made = server.new_token(extra=["--allowed-endpoints", f"POST {V0}/tickets"], wait=False)
    server.wait_token(made["token"], {403})
    api = Api(server, made["token"])

    ticket = api.create_v0()
    assert_v0_error(api.get(f"{V0}/tickets/{ticket['id']}"), 403, "endpoint_not_allowed")
    assert_problem(api.get("/v1/tickets"), 403, "endpoint_not_allowed")


def test_an_expiry_is_honoured_to_the_second(server):
    made = server.new_token(expires_in="2s")

    server.wait_token(made["token"], {401}, timeout_s=4.0)
    assert shown(server, made["id"])["expires_at"]


# --- users ---------------------------------------------------------------------------------------


def test_user_create_stores_no_password_in_the_clear(server, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("correct horse battery\n")
    email = f"ops-{server.backend}@example.com"

    made = server.cli_json("user", "create", "--email", email, "--name", "Ops",
                           "--password-file", str(secret))

    row = truth.rows(server, "SELECT * FROM app_user WHERE email = ?", email)[0]
    assert made["email"] == email and "correct horse" not in json.dumps(made)
    assert "correct horse" not in json.dumps(row, default=str)
    assert "$argon2id$" in str(row)
    with pytest.raises(Refused):                          # an address is used once
        server.cli("user", "create", "--email", email, "--password-file", str(secret))


def test_user_create_takes_no_password_from_the_command_line(server):
    assert server.run("user", "create", "--email", "x@example.com", "--password",
                      "visible to all").returncode == 2


# --- help ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("args", [("token", "--help"), ("token", "create", "-h"), ("help", "token")])
def test_help_names_the_commands_of_the_first_word_only(server, args):
    done = server.run(*args)

    assert done.returncode == 0 and not done.stderr
    assert "  token create " in done.stdout and "--expires-in VALUE" in done.stdout
    assert "  serve " not in done.stdout and "  user " not in done.stdout


def test_a_word_that_is_no_command_ends_with_2_and_the_whole_list(server):
    done = server.run("tokens", "list")

    assert done.returncode == 2 and not done.stdout
    assert "  token list " in done.stderr and "  serve " in done.stderr


# --- audit ---------------------------------------------------------------------------------------


def test_the_command_line_is_in_the_audit_log(server):
    made = server.new_token("audited")
    server.cli("token", "disable", made["id"])
    server.cli("token", "delete", made["id"])

    rows = truth.rows(server, "SELECT action, actor_kind FROM audit_log WHERE target_id = ? "
                              "ORDER BY seq", made["id"])

    assert rows == [("api_key.create", "cli"), ("api_key.disable", "cli"),
                    ("api_key.delete", "cli")]

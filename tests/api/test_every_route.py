"""What holds for every route of the server's own description, whatever it does."""

import json
import threading
import uuid

import pytest
from harness import truth
from harness.client import Api, contract_of
from harness.server import V0
from harness.tenants import Person
from harness.wait import wait_until
from harness.world import MAKERS, World, parameters_of, request_for


@pytest.fixture(scope="module")
def world(make_server, tmp_path_factory):
    """A team with an object of every kind, on a server of its own, and its owner."""
    folder = tmp_path_factory.mktemp("routes")
    server = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                          "TESSERA_TMP_DIR": str(folder)})
    owner = Person(server)
    made = World(server, owner=owner.email)
    owner.act_in(made.id)
    made.owner, made.ids["session_id"] = owner, owner.session_id
    for parameter in MAKERS:
        made.id_of(parameter)
    yield made
    server.close()


def operations(world):
    return list(contract_of(world.server).operations())


def header_names(operation):
    return {p["name"] for p in operation.get("parameters", []) if p.get("in") == "header"}


def codes(operation, status):
    """The error codes that the description names for a status."""
    return operation["responses"].get(str(status), {}).get("description", "").split(", ")


def client_of(world, template, operation):
    """Nobody where nobody is asked for, the owner where users may, else the key."""
    if operation.get("security") == []:
        return Api(world.server)
    return world.api if template.startswith(V0) else world.owner


# --- queries, bodies, headers --------------------------------------------------------------------------


def test_an_unknown_query_parameter_is_400_and_named(world):
    tried, wrong = 0, []
    for method, template, operation in operations(world):
        if "invalid_parameter" not in codes(operation, 400) or template.startswith(V0):
            continue
        request = request_for(world, method, template, operation)
        params = {**request.pop("params", {}), "no_such_word": "1"}
        reply = world.owner.request(method, world.fill(template), params=params, **request)
        tried += 1
        if reply.status_code != 400 or "no_such_word" not in reply.text:
            wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:150]}")
    assert not wrong, "\n".join(wrong)
    assert tried > 80


@pytest.mark.parametrize("body", ["{", '{"a":1,}', '{"a":"\\ud800"}', "\xff"])
def test_a_body_that_is_no_json_is_400_on_every_route_that_takes_one(world, body):
    tried, wrong = 0, []
    for method, template, operation in operations(world):
        if "invalid_json" not in codes(operation, 400):
            continue
        reply = client_of(world, template, operation).request(
            method, world.fill(template), data=body.encode("latin-1"),
            headers={"Content-Type": "application/json"})
        tried += 1
        if reply.status_code != 400:
            wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:150]}")
    assert not wrong, "\n".join(wrong)
    assert tried > 40


def test_a_team_that_is_not_there_is_404_on_every_route_that_takes_one(world):
    tried, wrong = 0, []
    for method, template, operation in operations(world):
        if "Tessera-Team" not in header_names(operation):
            continue
        for team in (str(uuid.uuid4()), "no-such-team"):
            request = request_for(world, method, template, operation)
            headers = {**request.pop("headers", {}), "Tessera-Team": team}
            reply = world.owner.request(method, world.fill(template), headers=headers, **request)
            tried += 1
            if reply.status_code != 404 or reply.json()["code"] != "not_found":
                wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:150]}")
    assert not wrong, "\n".join(wrong)
    assert tried > 150


def test_a_key_that_is_bound_to_another_endpoint_is_403_everywhere_else(world):
    key = world.post("/v1/api-keys", {"name": "bound", "scopes": ["admin:full"],
                                      "allowed_endpoints": ["GET /v1/nowhere"]})
    bound, wrong = Api(world.server, key["token"], key["id"]), []
    wait_until(lambda: bound.get("/v1/teams").status_code == 403, 3, "the key is known")
    for method, template, operation in operations(world):
        if operation.get("security") == [] or "forbidden_endpoint" not in codes(operation, 403):
            continue
        reply = bound.request(method, world.fill(template))
        if reply.status_code != 403:
            wrong.append(f"{method} {template}: {reply.status_code} {reply.text[:150]}")
    assert not wrong, "\n".join(wrong)


# --- Idempotency-Key ------------------------------------------------------------------------------


def idempotent(world):
    """(method, template, operation) of the routes that keep their answers."""
    found = [(m, t, o) for m, t, o in operations(world) if "Idempotency-Key" in header_names(o)
             and o.get("security") != [{"session": []}, {"jwt": []}]]
    assert len(found) > 12
    return found


def keyed(world, route):
    """What `requests` needs for one good request under a new key."""
    method, template, operation = route
    request = request_for(world, method, template, operation)
    headers = {**request.pop("headers", {}), "Idempotency-Key": str(uuid.uuid4())}
    if "json" in request:
        headers["Content-Type"] = "application/json"
        request["data"] = json.dumps(request.pop("json"))
    return {"method": method, "path": world.fill(template), "headers": headers, **request}


def test_a_kept_key_with_another_body_is_422_on_every_route_that_keeps_answers(world):
    wrong = []
    for route in idempotent(world):
        request = keyed(world, route)
        first = world.api.request(**request)
        again = world.api.request(**{**request, "data": request.get("data", "") + " "})
        if first.status_code >= 500 or again.status_code != 422 or \
                "idempotency" not in again.text.lower():
            wrong.append(f"{route[:2]}: {first.status_code} then {again.status_code} "
                         f"{again.text[:150]}")
    assert not wrong, "\n".join(wrong)


def test_of_two_requests_at_once_with_one_key_one_is_409_on_every_route_that_keeps_answers(world):
    wrong = []
    for route in idempotent(world):
        request, replies = keyed(world, route), []
        clients = [Api(world.server, world.key["token"]) for _ in range(2)]
        pair = [threading.Thread(target=lambda c=c, r=request, out=replies:
                                 out.append(c.request(**r))) for c in clients]
        with truth.kept_answers_locked(world.server):
            for thread in pair:
                thread.start()
            wait_until(lambda out=replies: out, 1.5, f"{route[:2]}: one of the two is answered")
        for thread in pair:
            thread.join(30)
        refused, done = replies
        if refused.status_code != 409 or "idempotency_in_progress" not in refused.text or \
                done.status_code not in (200, 201, 202, 204):
            wrong.append(f"{route[:2]}: {[(r.status_code, r.text[:100]) for r in replies]}")
    assert not wrong, "\n".join(wrong)

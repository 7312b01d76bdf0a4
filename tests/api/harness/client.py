"""A thin HTTP client for tests: one token, one keep-alive session, every reply held to contract."""

import threading

import requests

from .contract import Contract, strict_json
from .server import V0
from .wait import SLOW

CONTRACTS = {}
CONTRACTS_LOCK = threading.Lock()


def contract_of(server):
    """The server's own document, read once for each process."""
    key = (server.url, server.proc.pid)
    with CONTRACTS_LOCK:
        if key not in CONTRACTS:
            with requests.Session() as s:
                s.trust_env = False
                reply = s.get(server.url + "/openapi.json", timeout=10 * SLOW, verify=False)
            assert reply.status_code == 200, reply.text
            CONTRACTS[key] = Contract(strict_json(reply.text))
        return CONTRACTS[key]


class Api:
    """Requests with one token. Paths are absolute; `v0` and `v1` shorten the two mounts."""

    def __init__(self, server, token=None, token_id=None, check=True):
        self.server = server
        self.token = token
        self.token_id = token_id
        self.check = check
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = False
        if token:
            self.session.headers["Authorization"] = f"Bearer {token}"

    def request(self, method, path, **kwargs):
        kwargs.setdefault("timeout", 15 * SLOW)
        kwargs.setdefault("allow_redirects", False)
        reply = self.session.request(method, self.server.url + path, **kwargs)
        if self.check:
            bare = path.split("?")[0]
            contract_of(self.server).check(method, bare, reply.status_code,
                                           reply.headers.get("Content-Type"), reply.text)
        return reply

    def get(self, path, **kwargs):
        return self.request("GET", path, **kwargs)

    def post(self, path, json=None, **kwargs):
        return self.request("POST", path, json=json, **kwargs)

    def patch(self, path, json=None, **kwargs):
        return self.request("PATCH", path, json=json, **kwargs)

    def delete(self, path, **kwargs):
        return self.request("DELETE", path, **kwargs)

    def post_raw(self, path, body, method="POST", content_type="application/json", **kwargs):
        """A body as bytes, for what json= would not write."""
        headers = {"Content-Type": content_type, **kwargs.pop("headers", {})}
        return self.request(method, path, data=body, headers=headers, **kwargs)

    # --- the document's API ------------------------------------------------------------------

    def create_v0(self, title="A ticket", **fields):
        """The created ticket; fails unless 201."""
        reply = self.post(V0 + "/tickets", {"title": title, **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()["ticket"]

    def get_v0(self, ticket_id):
        reply = self.get(f"{V0}/tickets/{ticket_id}")
        assert reply.status_code == 200, reply.text
        return reply.json()["ticket"]

    # --- the modern form ---------------------------------------------------------------------

    def create_v1(self, title="A ticket", **fields):
        reply = self.post("/v1/tickets", {"title": title, **fields})
        assert reply.status_code == 201, reply.text
        return reply.json()

    def list_v1(self, **params):
        """The decoded list reply; fails unless 200."""
        reply = self.get("/v1/tickets", params=params)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def list_all_v1(self, limit=200, **params):
        """Every ticket over all pages."""
        found, cursor = [], None
        for _ in range(1000):
            page = self.list_v1(limit=limit, **params, **({"cursor": cursor} if cursor else {}))
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None:
                return found
        raise AssertionError("paging does not end")


def assert_v0_error(reply, status, *codes):
    """The document's error form: error, message and perhaps details, all strings."""
    assert reply.status_code == status, f"{reply.status_code}: {reply.text[:400]}"
    body = reply.json()
    assert list(body) in (["error", "message"], ["error", "message", "details"]), body
    assert all(isinstance(v, str) and v for v in body.values()), body
    assert not codes or body["error"] in codes, body
    return body


def assert_problem(reply, status, code=None, fields=()):
    """RFC 9457 with the product's code, the request's id and every named field."""
    assert reply.status_code == status, f"{reply.status_code}: {reply.text[:400]}"
    assert reply.headers["Content-Type"].split(";")[0] == "application/problem+json"
    body = reply.json()
    assert {"type", "title", "status", "code", "request_id"} <= set(body), body
    assert body["status"] == status
    assert body["request_id"] == reply.headers["X-Request-Id"]
    assert code is None or body["code"] == code, body
    named = {e["field"] for e in body.get("errors", [])}
    assert all({"field", "code", "message"} <= set(e) for e in body.get("errors", [])), body
    missing = set(fields) - named
    assert not missing, f"{missing} not named in {body}"
    return body

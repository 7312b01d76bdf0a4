#!/usr/bin/env python3
"""Client of the Tessera ticket API (/functions/v1/integration-tickets).

Python >= 3.8, standard library only.

As a library:

    from integration_client import IntegrationClient
    client = IntegrationClient("http://127.0.0.1:8080/functions/v1/integration-tickets", "stk_...")
    ticket = client.create_ticket("Printer on fire", priority="urgent")

As a program (INTEGRATION_TOKEN, INTEGRATION_URL): run it with --help, or with nothing for a tour
of every call.

What is retried: no answer at all, 408, 429, every 5xx, 409 idempotency_in_progress. The wait is
Retry-After when the server sends one, else exponential backoff with jitter. A POST carries one
Idempotency-Key for all its attempts, so a create that was stored but whose answer was lost is not
stored twice. PATCH sets a value and may be repeated as it is. Redirects are refused: following one
would hand the token to another address.

One client may be shared by threads; it keeps no state between calls. Left out: asyncio.
"""

from __future__ import annotations

import datetime
import email.utils
import http.client
import json
import os
import random
import ssl
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from typing import Any, Callable, Dict, List, Mapping, Optional

DEFAULT_URL = "http://127.0.0.1:8080/functions/v1/integration-tickets"
USER_AGENT = "tessera-client-python/1.0"
BACKOFF_FIRST_S = 0.5
BACKOFF_MAX_S = 8.0
ANSWER_MAX_BYTES = 8 * 1024 * 1024

Json = Dict[str, Any]


class IntegrationError(Exception):
    """A call that failed. `status` is the HTTP status, or 0 when no answer came."""

    def __init__(self, status: int, code: str, message: str, details: Any = None,
                 retryable: bool = False, retry_after_s: Optional[float] = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.details = details
        self.retryable = retryable
        self.retry_after_s = retry_after_s
        self.attempts = 1

    def __str__(self) -> str:
        text = f"{self.status or 'no answer'} {self.code}: {self.message}"
        if self.details:
            text += f" ({self.details})"
        if self.retry_after_s is not None:
            text += f" [retry after {self.retry_after_s:.0f} s]"
        if self.attempts > 1:
            text += f" [gave up after {self.attempts} attempts]"
        return text


class _RefuseRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_args: Any, **_kwargs: Any) -> None:
        return None


class IntegrationClient:
    """Every call of the ticket API. Each raises IntegrationError when it fails for good."""

    def __init__(self, base_url: str, token: str, *, timeout_s: float = 15.0,
                 max_attempts: int = 5, max_wait_s: float = 60.0) -> None:
        """`timeout_s` bounds each network operation, `max_attempts` the tries of a call. A server
        that asks for a longer wait than `max_wait_s` is not waited for: the call fails at once and
        says how long."""
        if urllib.parse.urlsplit(base_url).scheme not in ("http", "https"):
            raise ValueError("base_url must start with http:// or https://")
        if not token:
            raise ValueError("token must not be empty")
        self._base_url = base_url.rstrip("/")
        self._token = token
        self._timeout_s = timeout_s
        self._max_attempts = max(1, max_attempts)
        self._max_wait_s = max_wait_s
        self._opener = urllib.request.build_opener(_RefuseRedirect)

    def health(self) -> Json:
        """{"status": "ok", "endpoints": [...]}; also shows that the token is accepted."""
        return self._call("GET", "/")

    def create_ticket(self, title: str, *, description: Optional[str] = None,
                      priority: Optional[str] = None, category: Optional[str] = None,
                      metadata: Optional[Mapping[str, Any]] = None,
                      idempotency_key: Optional[str] = None) -> Json:
        """The new ticket. With an `idempotency_key` of your own, kept with your record, the same
        call made again after a crash gives the same ticket."""
        body = {"title": title, "description": description, "priority": priority,
                "category": category, "metadata": metadata}
        body = {name: value for name, value in body.items() if value is not None}
        return _part(self._call("POST", "/tickets", body, idempotency_key or _new_key()), "ticket")

    def get_ticket(self, ticket_id: str) -> Json:
        """The ticket with this id, if this token created it."""
        return _part(self._call("GET", _ticket_path(ticket_id)), "ticket")

    def add_comment(self, ticket_id: str, content: str, *, is_internal: bool = False,
                    idempotency_key: Optional[str] = None) -> str:
        """The id of the new comment."""
        body = {"content": content, "is_internal": is_internal}
        path = _ticket_path(ticket_id) + "/comments"
        return _part(self._call("POST", path, body, idempotency_key or _new_key()), "comment_id")

    def update_status(self, ticket_id: str, status: str) -> Json:
        """id, status and updated_at. Status: open, in_progress, waiting, resolved, closed."""
        path = _ticket_path(ticket_id) + "/status"
        return _part(self._call("PATCH", path, {"status": status}), "ticket")

    def _call(self, method: str, path: str, body: Optional[Json] = None,
              key: Optional[str] = None) -> Json:
        attempt = 1
        while True:
            try:
                return self._send_once(method, path, body, key)
            except IntegrationError as err:
                err.attempts = attempt
                wait_s = _wait_s(attempt, err.retry_after_s)
                if not err.retryable or attempt >= self._max_attempts or wait_s > self._max_wait_s:
                    raise
            time.sleep(wait_s)
            attempt += 1

    def _send_once(self, method: str, path: str, body: Optional[Json], key: Optional[str]) -> Json:
        headers = {"Authorization": f"Bearer {self._token}", "Accept": "application/json",
                   "User-Agent": USER_AGENT}
        data = None
        if body is not None:
            data = json.dumps(body, allow_nan=False).encode("ascii")
            headers["Content-Type"] = "application/json"
        if key is not None:
            headers["Idempotency-Key"] = key
        request = urllib.request.Request(self._base_url + path, data=data, headers=headers,
                                         method=method)
        try:
            with self._opener.open(request, timeout=self._timeout_s) as answer:
                raw = answer.read(ANSWER_MAX_BYTES + 1)
                status = answer.status
        except urllib.error.HTTPError as err:
            raise _refusal(err) from None
        except (OSError, http.client.HTTPException) as err:
            raise _no_answer(err) from err
        return _decode(raw, status)


def _refusal(err: urllib.error.HTTPError) -> IntegrationError:
    """An answer of 300 and above, as an IntegrationError."""
    fields: Json = {}
    with err:
        try:
            parsed = json.loads(err.read(ANSWER_MAX_BYTES))
            fields = parsed if isinstance(parsed, dict) else {}
        except (ValueError, OSError, http.client.HTTPException):
            pass  # a proxy's HTML page, or a body cut short: the status still tells the story
    code = str(fields.get("error") or f"http_{err.code}")
    message = str(fields.get("message") or err.reason or "no message")
    retryable = err.code in (408, 429) or err.code >= 500 or code == "idempotency_in_progress"
    return IntegrationError(err.code, code, message, fields.get("details"), retryable,
                            _retry_after_s(err.headers.get("Retry-After")))


def _no_answer(err: Exception) -> IntegrationError:
    """A connection that failed. A certificate that does not verify will not do so next time."""
    reason = getattr(err, "reason", None) or err
    retryable = not isinstance(reason, ssl.SSLCertVerificationError)
    return IntegrationError(0, "connection_failed", str(reason) or type(reason).__name__,
                            retryable=retryable)


def _decode(raw: bytes, status: int) -> Json:
    if len(raw) > ANSWER_MAX_BYTES:
        raise IntegrationError(status, "unexpected_answer", f"more than {ANSWER_MAX_BYTES} bytes")
    try:
        value = json.loads(raw)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise IntegrationError(status, "unexpected_answer", "not a JSON object; is the URL right?")
    return value


def _part(answer: Json, name: str) -> Any:
    if name not in answer:
        raise IntegrationError(200, "unexpected_answer", f"no '{name}'; is the URL right?")
    return answer[name]


def _retry_after_s(text: Optional[str]) -> Optional[float]:
    """Seconds from a Retry-After header, a number or an HTTP date. None: absent or unreadable."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        when = email.utils.parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=datetime.timezone.utc)
    return max(0.0, when.timestamp() - time.time())


def _wait_s(attempt: int, retry_after_s: Optional[float]) -> float:
    """Never shorter than asked; the jitter keeps many clients from returning together."""
    if retry_after_s is not None:
        return retry_after_s + random.uniform(0.0, 0.25)
    step = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** (attempt - 1))
    return random.uniform(step / 2, step)


def _ticket_path(ticket_id: str) -> str:
    if not ticket_id:
        raise ValueError("ticket_id must not be empty")
    return "/tickets/" + urllib.parse.quote(ticket_id, safe="")


def _new_key() -> str:
    return str(uuid.uuid4())


# The program: one row per command.

def demo(client: IntegrationClient) -> None:
    """Use every call once and print what happened."""
    print("health: ", client.health()["status"])
    ticket = client.create_ticket("Order processing issue",
                                  description="Order #12345 is stuck in processing",
                                  priority="high", category="Technical Support",
                                  metadata={"order_id": "12345", "source": "python"})
    print("created:", ticket["id"], "status", ticket["status"], "priority", ticket["priority"])
    print("fetched:", client.get_ticket(ticket["id"])["title"])
    print("comment:", client.add_comment(ticket["id"], "The customer has been contacted."))
    print("updated:", client.update_status(ticket["id"], "in_progress")["status"])
    status = client.get_ticket(ticket["id"])["status"]
    print("fetched: status", status)
    if status != "in_progress":
        raise IntegrationError(200, "unexpected_answer", f"status '{status}', not 'in_progress'")
    print("done: every call worked")


def _run_create(client: IntegrationClient, title: str, description: str = "", priority: str = "",
                category: str = "", metadata: str = "") -> Json:
    return client.create_ticket(title, description=description or None, priority=priority or None,
                                category=category or None,
                                metadata=json.loads(metadata) if metadata else None,
                                idempotency_key=os.environ.get("INTEGRATION_IDEMPOTENCY_KEY"))


def _run_comment(client: IntegrationClient, ticket_id: str, content: str, kind: str = "") -> Json:
    if kind not in ("", "internal"):
        raise ValueError("the third word of comment may only be: internal")
    key = os.environ.get("INTEGRATION_IDEMPOTENCY_KEY")
    return {"comment_id": client.add_comment(ticket_id, content, is_internal=kind == "internal",
                                             idempotency_key=key)}


USAGE = """usage: integration_client.py [COMMAND]
  demo                                                  every call once (the default)
  health
  create TITLE [DESCRIPTION [PRIORITY [CATEGORY [METADATA_JSON]]]]
  get ID
  comment ID TEXT [internal]
  status ID STATUS
environment: INTEGRATION_TOKEN (required), INTEGRATION_URL, INTEGRATION_TIMEOUT,
             INTEGRATION_MAX_ATTEMPTS, INTEGRATION_MAX_WAIT, INTEGRATION_IDEMPOTENCY_KEY"""

# name: (function, fewest words, most words)
COMMANDS: Dict[str, Any] = {
    "demo": (demo, 0, 0),
    "health": (IntegrationClient.health, 0, 0),
    "create": (_run_create, 1, 5),
    "get": (IntegrationClient.get_ticket, 1, 1),
    "comment": (_run_comment, 2, 3),
    "status": (IntegrationClient.update_status, 2, 2),
}


def client_from_env() -> IntegrationClient:
    env = os.environ.get
    return IntegrationClient(env("INTEGRATION_URL") or DEFAULT_URL, env("INTEGRATION_TOKEN") or "",
                             timeout_s=float(env("INTEGRATION_TIMEOUT") or 15),
                             max_attempts=int(env("INTEGRATION_MAX_ATTEMPTS") or 5),
                             max_wait_s=float(env("INTEGRATION_MAX_WAIT") or 60))


def main(words: List[str]) -> int:
    """0 done, 1 refused, 2 wrong usage."""
    name = words[0] if words else "demo"
    if name in ("-h", "--help"):
        print(USAGE)
        return 0
    run: Optional[Callable[..., Any]]
    run, fewest, most = COMMANDS.get(name, (None, 0, 0))
    if run is None or not fewest <= len(words[1:]) <= most:
        print(USAGE, file=sys.stderr)
        return 2
    try:
        result = run(client_from_env(), *words[1:])
        if result is not None:
            print(json.dumps(result, indent=2))
    except IntegrationError as err:
        print(f"failed: {err}", file=sys.stderr)
        return 1
    except ValueError as err:
        print(f"failed: {err}; see --help", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

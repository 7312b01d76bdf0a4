"""Every writing path, killed at every step: each statement, before COMMIT, after COMMIT.

TESSERA_FAULT counts the points that the process passes from its start on, so a walk begins with the
first count that lets the server start and goes on until the write is answered without the fault
having fired. After each kill the server starts again without it, and the database is looked at past
the server: what was answered is there, nothing is there by half, the rollups hold exactly the usage
rows, the database is sound. The commands that change tokens are walked in the same way.
"""

import hashlib
import json

import pytest
import requests
from harness import truth
from harness.client import Api
from harness.server import V0
from harness.wait import wait_until
from stage import KINDS, STEPS_MAX, Stage

BULK = 3
ONE_V0 = V0 + "/tickets/{ticket_id}"
ONE_V1 = "/v1/tickets/{ticket_id}"


def titled(n):
    return {"title": f"step {n}", "metadata": {"n": n}}


class Path:
    """One way to write. `count` finds what the nth request left in the database, by its title or
    by the ticket that it is about; `whole` is how much a complete one leaves."""

    def __init__(self, name, method, route, body, count, whole=1):
        self.name, self.method, self.route = name, method, route
        self.body, self.count, self.whole = body, count, whole

    def __repr__(self):
        return self.name


CREATED = "SELECT count(*) FROM tickets WHERE token_id = ? AND title = ?"
CHANGED = "SELECT version - 1 FROM tickets WHERE token_id = ? AND id = ?"
COMMENTED = ("SELECT count(*) FROM ticket_comments c JOIN tickets t ON t.team_id = c.team_id "
             "AND t.id = c.ticket_id WHERE c.token_id = ? AND t.id = ?")
DELETED = "SELECT count(deleted_ms) FROM tickets WHERE token_id = ? AND id = ?"

PATHS = [
    Path("v0-create", "POST", V0 + "/tickets", titled, CREATED),
    Path("v0-comment", "POST", ONE_V0 + "/comments", lambda n: {"content": "more"}, COMMENTED),
    Path("v0-status", "PATCH", ONE_V0 + "/status", lambda n: {"status": "waiting"}, CHANGED),
    Path("v1-create", "POST", "/v1/tickets", titled, CREATED),
    Path("v1-bulk", "POST", "/v1/tickets/bulk", lambda n: {"tickets": [titled(n)] * BULK}, CREATED,
         BULK),
    Path("v1-update", "PATCH", ONE_V1, lambda n: {"priority": "urgent"}, CHANGED),
    Path("v1-comment", "POST", ONE_V1 + "/comments", lambda n: {"content": "more"}, COMMENTED),
    Path("v1-delete", "DELETE", ONE_V1, lambda n: None, DELETED),
]
IDEMPOTENT = PATHS[3]


@pytest.fixture(scope="module")
def stage(make_server):
    made = Stage(make_server({"TESSERA_JOB_WORKERS": "0", "TESSERA_WEBHOOK_CALLS": "0"}))
    yield made
    made.server.close()


class Walk:
    """One path with a token of its own and a ticket for each step."""

    def __init__(self, stage, path, headers=None):
        self.stage, self.path = stage, path
        self.server = stage.server
        self.headers = headers or {}
        self.answers = {}        # step: status, None = no answer
        self.cut = 0             # requests that a kill left without an answer
        stage.recover()
        made = self.server.new_token("steps")
        self.token_id = made["id"]
        self.api = Api(self.server, made["token"], check=False)
        self.subjects = []
        if path.count != CREATED:
            reply = self.api.post("/v1/tickets/bulk",
                                  {"tickets": [{"title": "subject"}] * STEPS_MAX * 2})
            self.subjects = [item["id"] for item in reply.json()["data"]]

    def send(self, n):
        """The nth request; None when the connection broke without an answer."""
        path = self.path.route
        if self.subjects:
            path = path.replace("{ticket_id}", self.subjects[n])
        headers = {name: f"{value}-{n}" for name, value in self.headers.items()}
        try:
            return self.api.request(self.path.method, path, json=self.path.body(n), headers=headers)
        except requests.RequestException:
            return None

    def run(self, kind, mode, settle):
        """One request for each count, from the first that lets a server start until one is
        answered with the server unharmed; `settle(n, reply)` looks at each. Returns how many."""
        first = self.stage.first_step(kind)
        for n in range(first, first + STEPS_MAX):
            self.stage.stop()
            self.api.session.close()
            has_started = self.stage.start_with(f"{kind}:{n}:{mode}")
            reply = self.send(n) if has_started else None
            is_over = reply is not None and reply.status_code < 300 and self.server.is_running()
            self.answers[n] = reply.status_code if reply is not None else None
            self.cut += has_started and reply is None
            settle(n, reply)
            if is_over:
                return n - first + 1
        raise AssertionError(f"{kind} still fires after {STEPS_MAX} steps: {self.answers}")

    # --- what has to be true --------------------------------------------------------------------

    def stored(self, n):
        """Whether the nth request is in the database; fails when it is there by half."""
        key = self.subjects[n] if self.subjects else f"step {n}"
        found = int(truth.value(self.server, self.path.count, self.token_id, key))
        assert found in (0, self.path.whole), f"step {n}: {found} of {self.path.whole}"
        return found == self.path.whole

    def success_rows(self):
        """Usage rows which say that a request of this path succeeded."""
        return truth.value(self.server, "SELECT count(*) FROM integration_token_usage WHERE "
                           "token_id = ? AND method = ? AND endpoint = ? AND status_code < 300",
                           self.token_id, self.path.method, self.path.route)

    def check_step(self, n, reply):
        """After a kill and before the next start: stored if answered; each write with its row."""
        is_stored = self.stored(n)
        if reply is not None:
            assert reply.status_code < 300, reply.text
            assert is_stored, f"step {n}: answered {reply.status_code} and lost"
        stored = sum(self.stored(k) for k in self.answers)
        assert self.success_rows() == stored, f"step {n}: {stored} writes, not as many usage rows"

    def check_rollups(self):
        """Right after a start: the rollups have every row, and none twice."""
        def table(statement):
            found = truth.rows(self.server, statement, self.token_id)
            return {route: int(count) for route, count in found}
        rows = table("SELECT method || ' ' || endpoint, count(*) FROM integration_token_usage "
                     "WHERE token_id = ? GROUP BY method, endpoint")
        assert rows == table("SELECT route, SUM(n) FROM usage_rollup WHERE token_id = ? "
                             "AND grain = 'd' GROUP BY route")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_write_killed_at_any_step_is_whole_or_absent(stage, path, kind):
    def is_met():
        walk = Walk(stage, path)

        def settle(n, reply):
            stage.server.kill9()
            walk.check_step(n, reply)
            stage.recover()
            walk.check_rollups()
        walk.run(kind, "kill", settle)
        return walk.cut

    assert stage.meets(kind, is_met), "no kill met the write"
    stage.stop()
    truth.check_integrity(stage.server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_retry_with_its_key_after_a_kill_at_any_step_creates_exactly_one(stage, kind):
    def is_met():
        walk = Walk(stage, IDEMPOTENT, {"Idempotency-Key": kind})

        def settle(n, reply):
            was_stored = walk.stored(n)
            stage.recover()
            again, twice = walk.send(n), walk.send(n)
            assert again.status_code == twice.status_code == 201, again.text
            assert again.json() == twice.json()
            assert ("Idempotency-Replayed" in again.headers) == was_stored
            assert reply is None or reply.json() == again.json()
            assert walk.stored(n)
        walk.run(kind, "kill", settle)
        return walk.cut

    assert stage.meets(kind, is_met), "no kill met the write"
    stage.stop()
    truth.check_integrity(stage.server)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", PATHS, ids=repr)
def test_a_write_that_fails_at_any_step_is_refused_cleanly_or_done(stage, path, kind):
    """Instead of a kill, the point fails once. The server lives on and can be asked again."""
    def is_met():
        walk = Walk(stage, path)
        failed = []

        def settle(n, reply):
            if reply is None:                 # the fault hit the start, which said so and gave up
                assert not stage.server.is_running() and stage.server.proc.returncode == 1
                stage.recover()
                return
            is_stored = walk.stored(n)
            if reply.status_code < 300:
                assert is_stored
                return
            failed.append(n)
            assert reply.status_code in (500, 503), reply.text
            assert reply.json()["code" if path.route.startswith("/v1") else "error"]
            assert reply.status_code == 500 or int(reply.headers["Retry-After"]) >= 1
            # After COMMIT the answer alone is lost; before it, so is the write.
            assert is_stored == (kind == "committed"), f"step {n}: {reply.text}"
            if not is_stored:
                assert walk.send(n).status_code < 300 and walk.stored(n)
        walk.run(kind, "once", settle)
        return failed

    assert stage.meets(kind, is_met), "no fault met the write"
    stage.stop()
    truth.check_integrity(stage.server)


def test_a_kill_while_the_rollups_are_written_counts_nothing_twice(stage):
    """The counts of a write go to the rollups within a second after its answer."""
    walk = Walk(stage, PATHS[0])
    met = 0
    first = stage.first_step("db")
    for n in range(first, first + 10):
        stage.stop()
        walk.api.session.close()
        if not stage.start_with(f"db:{n}:kill"):
            continue
        reply = walk.send(n)
        walk.answers[n] = reply.status_code if reply is not None else None
        if reply is not None and stage.server.is_running():
            # Nothing more is asked: what passes points now is the server's own work.
            wait_until(lambda: not stage.server.is_running(), 10, "the fault fires")
            met += 1
        walk.check_step(n, reply)
        stage.recover()
        walk.check_rollups()
    assert met, "every kill came before the answer"


# --- the command line ----------------------------------------------------------------------------


def token_row(server, token_id):
    found = truth.rows(server, "SELECT status, token_hash, rev FROM integration_tokens "
                               "WHERE id = ?", token_id)
    return found[0] if found else None


def feed(server):
    return truth.value(server, "SELECT value FROM change_feed WHERE name = 'token'")


def digest(secret):
    return hashlib.sha256(secret.encode()).hexdigest()


def run_until_spared(server, fault, args):
    """Run the command with the fault at 1, 2, … until it is spared; yields after every run."""
    for n in range(1, STEPS_MAX):
        before = feed(server)
        done = server.run(*args, "--json", env={"TESSERA_FAULT": fault.replace("N", str(n))})
        changes = feed(server) - before
        assert changes in (0, 1)
        yield done, changes
        if done.returncode == 0:
            return
        assert done.returncode in (-9, 1), done.stderr
    raise AssertionError(f"{fault} still fires after {STEPS_MAX} steps")


FAULTS = [f"{kind}:N:{mode}" for kind in KINDS for mode in ("kill", "once")]


@pytest.mark.parametrize("fault", FAULTS)
def test_token_create_cut_at_any_step_is_whole_or_absent(server, fault):
    name = f"cut {fault}"

    def count():
        return truth.value(server, "SELECT count(*) FROM integration_tokens WHERE name = ?", name)
    runs = 0
    for done, changes in run_until_spared(server, fault, ["token", "create", "--name", name]):
        runs += 1
        total = count()
        assert total == (made if runs > 1 else 0) + changes
        made = total
    assert runs > 1, "the fault met nothing"
    assert changes == 1
    server.wait_token(json.loads(done.stdout)["token"], {200})
    revs = truth.rows(server, "SELECT rev FROM integration_tokens WHERE name = ?", name)
    assert len(set(revs)) == made


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", ["regenerate", "disable", "delete"])
def test_a_token_change_cut_at_any_step_is_whole_or_absent(server, verb, fault):
    made = server.new_token("changed")
    secret = made["token"]
    runs = 0
    for done, changes in run_until_spared(server, fault, ["token", verb, made["id"]]):
        runs += 1
        status, stored, rev = token_row(server, made["id"])
        if done.returncode == 1 and verb == "delete" and status == "deleted" and not changes:
            break                           # done by a run whose answer was lost: nothing is left
        is_done = {"regenerate": stored != digest(secret), "disable": status == "disabled",
                   "delete": status == "deleted"}[verb]
        assert (rev == feed(server)) or not changes, "changed without telling the servers"
        assert is_done or changes == 0, "the servers were told of no change"
        if not is_done:
            assert server.try_token(secret) == 200
        elif done.returncode == 0 and verb == "regenerate":
            assert stored == digest(json.loads(done.stdout)["token"])
            server.wait_token(json.loads(done.stdout)["token"], {200})
    assert runs > 1, "the fault met nothing"
    server.wait_token(secret, {401})

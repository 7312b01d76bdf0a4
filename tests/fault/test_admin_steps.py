"""Every writing path of the administration API, killed at every step; as test_write_steps.py.

After each kill the database is looked at past the server: a change that was answered is there, with
exactly one audit row if it is one that is audited; one that was not answered is there whole and with
its row, or not at all; every chain of the audit log is intact; every attachment has its file. Then
the server starts again, and what had not happened is asked for once more.

Ordinary runs take every fourth statement, and each path as one of its callers. --every-step takes
all statements, all callers and the paths that are deep; `make soak` does.
"""

import hashlib
import itertools
import os
import re

import pytest
import requests
from admin_paths import CHANGES, KEY
from harness import truth
from harness.people import Person, create_user
from harness.world import World
from stage import KINDS, STEPS_MAX, Stage

STRIDE = 4      # of the statements in ordinary runs; less than any path has
LOOSE = "SELECT team_id, sha256, nonce FROM blob_loose"


def pytest_generate_tests(metafunc):
    if "change" not in metafunc.fixturenames:
        return
    is_long = metafunc.config.getoption("--every-step")
    cases = []
    for (i, change), (k, kind) in itertools.product(enumerate(CHANGES), enumerate(KINDS)):
        actors = change.actors or ("self",)
        if not is_long:
            actors = [] if change.is_deep else [actors[(i + k) % len(actors)]]
        cases += [pytest.param(change, actor, kind, id=f"{change.name}-by-{actor}-{kind}")
                  for actor in actors]
    metafunc.parametrize("change, actor, kind", cases)


class Scene(Stage):
    """A stage with a team, its admin:full key and its owner, and a folder of attachments."""

    def __init__(self, server, folder):
        super().__init__(server)
        self.folder = folder
        self.world = World(server)
        self.world.api.check = False
        email = create_user(server, "owner", self.world.slug)["email"]
        self.owner = Person(server, email, team=self.world.slug, check=False).sign_in()

    def client(self, actor, words):
        return words.get("api") or (self.world.api if actor == KEY else self.owner)

    def find(self, statement, words):
        """The number that a statement of a change finds; {word} stands for an argument."""
        names = re.findall(r"{(\w+)}", statement)
        words = {"team": self.world.id, **words}
        return int(truth.value(self.server, re.sub(r"{\w+}", "?", statement),
                               *(words[name] for name in names)))

    def audited(self):
        """How many audit rows there are, by their action."""
        return {action: int(n) for action, n in truth.rows(
            self.server, "SELECT action, count(*) FROM audit_log GROUP BY action")}

    def check_audit(self):
        done = self.server.run("audit", "verify")
        assert done.returncode == 0, done.stdout + done.stderr

    def check_files(self):
        """Every blob has its file, of the right content and not to be swept; every file is known."""
        loose = {"/".join(row) for row in truth.rows(self.server, LOOSE)}
        kept = {"/".join(row) for row in truth.rows(
            self.server, "SELECT team_id, sha256, nonce FROM blob")}
        files = {}
        for folder, _, names in os.walk(self.folder):
            team = os.path.relpath(folder, self.folder).split(os.sep)[0]
            files.update({f"{team}/{n.replace('-', '/')}": os.path.join(folder, n) for n in names})
        assert not kept & loose, "an object that is in use would be swept"
        assert kept <= set(files), f"rows without a file: {kept - set(files)}"
        assert set(files) <= kept | loose, f"files without a row: {set(files) - kept - loose}"
        for name in kept:
            with open(files[name], "rb") as f:
                assert hashlib.sha256(f.read()).hexdigest() == name.split("/")[1]
        unused = truth.value(self.server, "SELECT count(*) FROM blob b WHERE NOT EXISTS (SELECT 1 "
                             "FROM attachment a WHERE a.team_id = b.team_id AND a.sha256 = b.sha256)")
        assert int(unused) == 0


@pytest.fixture(scope="module")
def scene(make_server, tmp_path_factory):
    folder = tmp_path_factory.mktemp("attachments")
    server = make_server({"TESSERA_ATTACHMENT_DIR": str(folder / "kept"),
                          "TESSERA_TMP_DIR": str(folder), "TESSERA_JOB_WORKERS": "0",
                          "TESSERA_WEBHOOK_CALLS": "0"})
    try:
        yield Scene(server, str(folder / "kept"))
    finally:
        server.close()


class Walk:
    """One change, asked for with a kill at one step after the other."""

    def __init__(self, scene, change, actor):
        self.scene, self.change, self.actor = scene, change, actor
        self.server = scene.server
        self.words = None        # what the next request is about; None: it is to be made
        self.before = {}         # the audit rows without that request
        self.cut = 0             # requests that a kill left without an answer
        self.done_unheard = 0    # of those, the ones that had happened

    def start_with(self, fault):
        """Whether there is a server that serves with the fault ahead. After a kill the start passes
        more points, so one that the fault ended is followed by a whole one and an orderly stop. On a
        busy machine a clean one may pass more of them, too: what counts once a moment has its turn
        before the server is ready."""
        if self.words is None:
            self.scene.recover()
            self.words = self.change.make(self.scene.world)
            self.before = self.scene.audited()
            assert not self.happened(), "the request would do nothing"
            self.scene.stop()
        if self.scene.start_with(fault):
            return True
        self.scene.recover()
        self.scene.stop()
        return self.scene.start_with(fault)

    def send(self):
        """The reply; None when the connection broke without one."""
        change, words = self.change, self.words
        api = self.scene.client(self.actor, words)
        api.session.close()
        route = change.route.format(team=self.scene.world.id, **words)
        body = {"json": change.body(words)} if change.body else {}
        if change.upload:
            body = {"data": words[change.upload], "headers": {"Content-Type": "image/png"}}
        try:
            return api.request(change.method, route, **body)
        except requests.RequestException:
            return None

    def happened(self):
        """Whether the change is in the database; fails when it is there by half."""
        found = [self.scene.find(piece, self.words) for piece in self.change.pieces]
        assert found in ([0] * len(found), [self.change.whole] * len(found)), (
            f"{self.change.name}: {found} of {self.change.whole} each")
        return found[0] != 0

    def check(self, reply):
        """After a kill, before the next start."""
        has_happened = self.happened()
        if reply is not None:
            assert reply.status_code < 300, reply.text
            assert has_happened, f"answered {reply.status_code} and lost"
        rows = dict(self.before)
        if has_happened and self.change.action:
            rows[self.change.action] = rows.get(self.change.action, 0) + 1
        assert self.scene.audited() == rows, f"happened: {has_happened}"
        self.scene.check_audit()
        self.scene.check_files()
        if self.change.name == "key-regenerate" and reply is not None:
            digest = hashlib.sha256(reply.json()["token"].encode()).hexdigest()
            assert self.scene.find("SELECT count(*) FROM integration_tokens WHERE id = {id} "
                                   "AND token_hash = '" + digest + "'", self.words) == 1
        self.cut += reply is None
        self.done_unheard += has_happened and reply is None
        if has_happened:
            self.words = None

    def run(self, kind, stride):
        first = self.scene.first_step(kind)
        self.scene.stop()
        for n in range(first, first + STEPS_MAX, stride):
            if not self.start_with(f"{kind}:{n}:kill"):
                continue
            reply = self.send()
            is_over = reply is not None and self.server.is_running()
            self.server.kill9()
            self.check(reply)
            if is_over:
                return
        raise AssertionError(f"{kind} still fires after {STEPS_MAX} steps")


def test_a_change_killed_at_any_step_is_whole_and_audited_or_absent(scene, change, actor, kind,
                                                                    request):
    is_long = request.config.getoption("--every-step")

    def is_met():
        walk = Walk(scene, change, actor)
        walk.run(kind, STRIDE if kind == "db" and not is_long else 1)
        assert walk.done_unheard or kind != "committed" or not walk.cut, "no kill came after COMMIT"
        return walk.cut

    assert scene.meets(kind, is_met), "no kill met the change"
    truth.check_integrity(scene.server)

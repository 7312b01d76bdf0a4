"""Rotations of the vault, killed at every step: at statements, before COMMIT, after COMMIT.

After each kill a server with the same settings still opens every secret; the next run, without the
fault, goes on to the end, and nothing is left of the keys before.
"""

import json

import pytest
from harness import truth
from harness.server import MASTER_KEY
from stage import KINDS
from harness.enrolled import Enrolled

STEPS_MAX = 200
PEOPLE = 3
NEW_KEY = "77" * 32


@pytest.fixture(scope="module")
def people(make_server):
    server = make_server()
    yield [Enrolled(server) for _ in range(PEOPLE)]
    server.close()


def run(server, args, fault=None, env=None):
    more = dict(env or {})
    if fault:
        more["TESSERA_FAULT"] = fault
    return server.run("vault", "rotate", "--batch", "1", "--json", *args, env=more)


def whole(server, args=(), env=None):
    """A run that nothing disturbs; its one line."""
    done = run(server, args, env=env)
    assert done.returncode == 0, done.stderr
    line = json.loads(done.stdout)
    assert not line["quarantined"]
    return line


def states(server):
    found = truth.rows(server, "SELECT state, count(*) FROM vault_key WHERE purpose = 'data' "
                               "GROUP BY state")
    return dict(found)


def texts_by_state(server):
    return dict(truth.rows(server, "SELECT k.state, count(*) FROM app_user u JOIN vault_key k ON "
                           "k.team_id = '' AND k.id = substr(u.totp_secret, 4, 16) "
                           "GROUP BY k.state"))


@pytest.fixture
def steps(request):
    """Which counts are walked: of a kind, all of them or every third statement."""
    def of(kind):
        is_all = kind != "db" or request.config.getoption("--every-step")
        return range(1, STEPS_MAX, 1 if is_all else 3)
    return of


@pytest.mark.parametrize("kind", KINDS)
def test_a_rotation_killed_at_any_step_goes_on(people, steps, kind):
    server = people[0].server
    cut = 0
    for n in steps(kind):
        done = run(server, [], fault=f"{kind}:{n}:kill")
        assert done.returncode in (0, -9), done.stderr
        assert states(server)["active"] == 1
        assert whole(server, ["--dry-run"])["dry_run"]
        people[n % PEOPLE].opens()
        if done.returncode == 0:
            break
        cut += 1
        has_begun = truth.value(server, "SELECT count(*) FROM vault_rotation")
        assert whole(server)["resumed"] == bool(has_begun)
        assert truth.value(server, "SELECT count(*) FROM vault_rotation") == 0
        assert texts_by_state(server) == {"active": PEOPLE}
        assert "old" not in states(server)
    else:
        raise AssertionError(f"{kind} still fires after {STEPS_MAX} steps")
    assert cut > 3
    truth.check_integrity(server)


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_master_key_killed_at_any_step_goes_on(people, steps, kind):
    """Each step changes from one key to the other; the running server has the keys in memory."""
    server = people[0].server
    now, new = MASTER_KEY, NEW_KEY
    cut = 0
    for n in steps(kind):
        env = {"TESSERA_MASTER_KEY": new, "TESSERA_MASTER_KEY_PREVIOUS": now}
        done = run(server, ["--master"], fault=f"{kind}:{n}:kill", env=env)
        assert done.returncode in (0, -9), done.stderr
        assert whole(server, ["--dry-run"], env=env)["dry_run"]
        if done.returncode:
            cut += 1
            whole(server, ["--master"], env=env)
        assert truth.value(server, "SELECT count(DISTINCT kek_id) FROM vault_key") == 1
        alone = {"TESSERA_MASTER_KEY": new}
        assert whole(server, ["--dry-run"], env=alone)["resealed"] == PEOPLE
        now, new = new, now
        if done.returncode == 0:
            break
    else:
        raise AssertionError(f"{kind} still fires after {STEPS_MAX} steps")
    assert cut > 1
    env = {"TESSERA_MASTER_KEY": MASTER_KEY, "TESSERA_MASTER_KEY_PREVIOUS": NEW_KEY}
    whole(server, ["--master"], env=env)
    assert "intact" in server.cli("audit", "verify")
    for person in people:
        person.opens()

"""/v1/reports/{report_id}/schedules: the forms of a schedule and the times that it is due."""

import datetime
import zoneinfo

import pytest
from harness.client import assert_problem
from harness.tenants import Tenant

ABSENT = "01890000-0000-7000-8000-000000000000"
TO = {"recipients": ["zoe@example.com"]}
DAILY = {"kind": "daily", "at": "07:30", **TO}
WEEKLY = {"kind": "weekly", "at": "07:30", "weekdays": ["mon", "fri"], **TO}
MONTHLY = {"kind": "monthly", "at": "00:00", "day_of_month": 31, **TO}
CRON = {"kind": "cron", "cron": "0 9 * * mon-fri", **TO}


@pytest.fixture(scope="module")
def module_tenant(common_server):
    return Tenant(common_server, "schedules")


@pytest.fixture
def tenant(server, module_tenant):
    return module_tenant


@pytest.fixture
def admin(tenant):
    return tenant.api


@pytest.fixture
def base(admin):
    """The path of the schedules of a new report."""
    reply = admin.post("/v1/reports", {"name": "A report", "definition": {
        "source": "tickets", "measures": [{"name": "n", "op": "count"}]}})
    assert reply.status_code == 201, reply.text
    return f"/v1/reports/{reply.json()['id']}/schedules"


def create(api, base, **body):
    reply = api.post(base, body)
    assert reply.status_code == 201, reply.text
    return reply.json()


def runs(schedule, zone="UTC"):
    """The next runs on the clock of the zone."""
    found = [datetime.datetime.fromisoformat(t.replace("Z", "+00:00")) for t in schedule["next_runs"]]
    assert found == sorted(set(found))
    return [t.astimezone(zoneinfo.ZoneInfo(zone)) for t in found]


def test_create_answers_201_with_the_next_five_runs(admin, base):
    reply = admin.post(base, {**DAILY, "time_zone": "Europe/Berlin", "format": "csv"})

    made = reply.json()
    assert reply.status_code == 201 and reply.headers["ETag"] == '"v1"'
    assert reply.headers["Location"].endswith(f"{base}/{made['id']}")
    assert (made["kind"], made["at"], made["weekdays"], made["day_of_month"], made["cron"]) == (
        "daily", "07:30", None, None, None)
    assert (made["format"], made["enabled"], made["recipients"]) == ("csv", True, TO["recipients"])
    due = runs(made, "Europe/Berlin")
    now = datetime.datetime.now(datetime.timezone.utc)
    assert len(due) == 5 and all((t.hour, t.minute) == (7, 30) for t in due)
    assert now < due[0] <= now + datetime.timedelta(days=1, hours=1)
    assert {(b.date() - a.date()).days for a, b in zip(due, due[1:])} == {1}
    assert admin.get(f"{base}/{made['id']}").json() == made


def test_weekly_runs_on_its_days(admin, base):
    due = runs(create(admin, base, **WEEKLY, time_zone="America/New_York"), "America/New_York")

    assert {t.weekday() for t in due} == {0, 4} and {(t.hour, t.minute) for t in due} == {(7, 30)}


def test_monthly_on_day_31_is_the_last_day(admin, base):
    due = runs(create(admin, base, **MONTHLY))

    assert len({t.month for t in due}) == 5
    assert all((t + datetime.timedelta(days=1)).day == 1 for t in due)


def test_cron_runs_as_its_fields_say(admin, base):
    made = create(admin, base, **{**CRON, "cron": "*/20 8-9 * * *"}, time_zone="Asia/Kathmandu")

    due = runs(made, "Asia/Kathmandu")
    assert all(t.hour in (8, 9) and t.minute in (0, 20, 40) for t in due)
    leap = create(admin, base, **{**CRON, "cron": "0 0 29 feb *"})
    assert [(t.year, t.month, t.day) for t in runs(leap)][:2] == [(2028, 2, 29), (2032, 2, 29)]


def test_a_schedule_that_is_off_has_no_runs(admin, base):
    made = create(admin, base, **DAILY, enabled=False)
    assert made["next_runs"] == []

    on = admin.patch(f"{base}/{made['id']}", {"enabled": True}).json()
    assert len(on["next_runs"]) == 5


@pytest.mark.parametrize("body,fields", [
    ({**DAILY, "kind": "yearly"}, ["kind"]),
    ({**DAILY, "at": "24:00"}, ["at"]),
    ({**DAILY, "at": "7:30"}, ["at"]),
    ({**DAILY, "at": "07.30"}, ["at"]),
    ({**DAILY, "weekdays": ["mon"]}, ["weekdays"]),
    ({**DAILY, "cron": "0 0 * * *", "day_of_month": 1}, ["cron", "day_of_month"]),
    ({**WEEKLY, "weekdays": ["monday"]}, ["weekdays"]),
    ({**WEEKLY, "weekdays": []}, ["weekdays"]),
    ({**MONTHLY, "day_of_month": 32}, ["day_of_month"]),
    ({**CRON, "cron": "61 * * * *"}, ["cron"]),
    ({**CRON, "cron": "0 0 31 2 *"}, ["cron"]),
    ({**CRON, "at": "07:30"}, ["at"]),
    ({**DAILY, "time_zone": "Mars/Olympus"}, ["time_zone"]),
    ({**DAILY, "format": "pdf"}, ["format"]),
    ({**DAILY, "recipients": []}, ["recipients"]),
    ({**DAILY, "recipients": ["a@example.com", "nobody"]}, ["recipients[1]"]),
    ({**DAILY, "recipients": ["a@example.com"] * 21}, ["recipients"]),
    ({**DAILY, "at": "x", "next_runs": []}, ["next_runs"]),
])
def test_what_is_wrong_is_named(admin, base, body, fields):
    assert_problem(admin.post(base, body), 422, fields=fields)


@pytest.mark.parametrize("body,fields", [
    ({}, ["kind"]),
    ({"kind": "daily", "at": "07:00"}, ["deliveries"]),
    ({"kind": "daily", **TO}, ["at"]),
    ({"kind": "weekly", **TO}, ["at", "weekdays"]),
    ({"kind": "monthly", "at": "07:00", **TO}, ["day_of_month"]),
    ({"kind": "cron", **TO}, ["cron"]),
])
def test_what_is_missing_is_named(admin, base, body, fields):
    assert_problem(admin.post(base, body), 422, "missing_required_field", fields=fields)


def test_a_cron_that_is_wrong_names_the_field(admin, base):
    problem = assert_problem(admin.post(base, {**CRON, "cron": "0 25 * * *"}), 422)

    assert "field 2 (hour)" in problem["detail"] and "between 0 and 23" in problem["detail"]


def test_patch_merges_and_a_new_kind_drops_the_old_fields(admin, base):
    path = f"{base}/{create(admin, base, **WEEKLY)['id']}"

    later = admin.patch(path, {"at": "08:00", "format": "json"}).json()
    assert (later["at"], later["weekdays"], later["format"], later["version"]) == (
        "08:00", ["mon", "fri"], "json", 2)
    daily = admin.patch(path, {"kind": "daily"}).json()
    assert (daily["at"], daily["weekdays"]) == ("08:00", None)
    cron = admin.patch(path, {"kind": "cron", "cron": "5 5 * * *"}).json()
    assert (cron["at"], cron["cron"], cron["version"]) == (None, "5 5 * * *", 4)
    assert_problem(admin.patch(path, {"kind": "monthly"}), 422, "missing_required_field",
                   fields=["at", "day_of_month"])
    assert_problem(admin.patch(path, {"cron": None}), 422, fields=["cron"])
    assert_problem(admin.patch(path, {"recipients": None}), 422, fields=["recipients"])
    assert admin.get(path).json() == cron


def test_if_match_of_an_old_version_is_412(admin, base):
    path = f"{base}/{create(admin, base, **DAILY)['id']}"
    assert admin.patch(path, {"at": "08:00"}, headers={"If-Match": '"v1"'}).status_code == 200

    assert_problem(admin.patch(path, {"at": "09:00"}, headers={"If-Match": '"v1"'}), 412)
    assert_problem(admin.delete(path, headers={"If-Match": '"v1"'}), 412)
    assert admin.delete(path, headers={"If-Match": '"v2"'}).status_code == 204
    assert_problem(admin.get(path), 404)


def test_the_list_has_all_in_order_and_a_report_takes_twenty(admin, base):
    made = [create(admin, base, **DAILY)["id"] for _ in range(20)]

    assert [s["id"] for s in admin.get(base).json()["data"]] == made
    assert_problem(admin.post(base, DAILY), 409, "conflict")


def test_an_absent_one_is_404_and_a_malformed_id_400(admin, base):
    for method, body in (("GET", None), ("PATCH", {"at": "08:00"}), ("DELETE", None)):
        kwargs = {"json": body} if body else {}
        assert_problem(admin.request(method, f"{base}/{ABSENT}", **kwargs), 404, "not_found")
        assert_problem(admin.request(method, f"{base}/nope", **kwargs), 400, "invalid_parameter",
                       fields=["schedule_id"])
    for method, body in (("GET", None), ("POST", DAILY)):
        kwargs = {"json": body} if body else {}
        assert_problem(admin.request(method, f"/v1/reports/{ABSENT}/schedules", **kwargs), 404)
    mine = create(admin, base, **DAILY)["id"]
    other = admin.post("/v1/reports", {"name": "x", "definition": {
        "source": "contacts", "measures": [{"name": "n", "op": "count"}]}}).json()["id"]
    assert_problem(admin.get(f"/v1/reports/{other}/schedules/{mine}"), 404)


def test_only_reports_schedule_opens_them(tenant, admin, base, anonymous):
    path = f"{base}/{create(admin, base, **DAILY)['id']}"
    lacking = tenant.api_with(["reports:read", "reports:write", "reports:execute"])
    calls = [("GET", base, None), ("POST", base, DAILY), ("GET", path, None),
             ("PATCH", path, {"at": "08:00"}), ("DELETE", path, None)]

    for method, target, body in calls:
        kwargs = {"json": body} if body else {}
        problem = assert_problem(lacking.request(method, target, **kwargs), 403)
        assert "reports:schedule" in problem["detail"]
        assert_problem(anonymous.request(method, target, **kwargs), 401, "missing_token")
    assert tenant.api_with(["reports:schedule"]).get(base).status_code == 200


def test_every_change_is_in_the_audit_log(admin, base):
    made = create(admin, base, **DAILY)
    path = f"{base}/{made['id']}"
    admin.patch(path, {"at": "08:00"})
    admin.delete(path)

    log = admin.get("/v1/audit", params={"target_id": made["id"]}).json()["data"]

    assert [row["action"] for row in log] == ["report_schedule.delete", "report_schedule.update",
                                              "report_schedule.create"]
    assert log[1]["before"]["at"] == "07:30" and log[1]["after"]["at"] == "08:00"

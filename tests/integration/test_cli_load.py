"""`cmis schedules load`: the chart of what will come due, of one org as the app role, of all as the readonly role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from dev.site import Site
    from tests.world import Org, World


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    urls = {"DATABASE_URL": database.urls.app, "READONLY_DATABASE_URL": database.urls.readonly}
    return Cmis(capsys, urls | {"CMIS_TEST_CLOCK": "1"})


MANY = text("""
INSERT INTO cmis.scheduled_jobs (org_id, job_id, name, rule_id, schedule_type, cron_expression, frequency, "interval",
                                 time_of_day, start_date, anchor_at, jitter_seconds, next_run_at, owner_id, created_at,
                                 updated_at)
SELECT :org, gen_random_uuid(), :name || n, :rule, :type, :cron, :frequency, 1, CAST(:at AS time),
       CAST(:start AS timestamptz), coalesce(CAST(:start AS timestamptz), cmis.clock() - n * interval '1 hour'),
       :jitter, coalesce(CAST(:start AS timestamptz), cmis.clock()), :owner, cmis.clock(), cmis.clock()
  FROM generate_series(1, :jobs) n
""")


def add(org: Org, rule: Any, jobs: int, **columns: Any) -> None:
    values: dict[str, Any] = {"type": "cron", "cron": None, "frequency": None, "at": None, "start": None, "jitter": 0}
    keys = {"org": org.id, "rule": rule, "owner": org.context.user_id, "name": str(columns), "jobs": jobs}
    with org.world.app.transaction(org.context) as connection:
        connection.execute(MANY, values | keys | columns)


@pytest.fixture
def orgs(world: World) -> tuple[Org, Org]:
    large, small = world.org("large"), world.org("small")
    theirs, rule = large.rule(), small.rule()
    add(large, theirs, 300, cron="0 9 * * *")
    add(large, theirs, 20, type="recurring", frequency="hourly")
    add(small, rule, 50, cron="0 9 * * *")
    add(small, rule, 7, type="recurring", frequency="daily", at="09:30")
    add(small, rule, 3, type="once", start=world.now().replace(second=30, microsecond=0))
    return large, small


@pytest.mark.usefixtures("orgs")
def test_the_load_of_all_orgs_is_counted_and_its_pile_ups_named(cmis: Cmis) -> None:
    found = cmis("schedules", "load", "--days", "2", "--json").json
    assert (found["jobs"], found["complete"], found["jobs_left_out"]) == (380, True, 0)
    assert found["runs"] == 2 * (300 + 50 + 7) + 48 * 20 + 3
    assert sum(day["total"] for day in found["days"]) == found["runs"]
    assert {len(day["hours"]) for day in found["days"]} == {24}
    assert found["pile_ups_in_all"] == 2
    one = found["pile_ups"][0]
    assert one["minute"].endswith("T09:00:00Z")
    assert one["jobs"] >= 350
    assert [(org["name"], org["jobs"]) for org in one["orgs"]] == [("large", 300), ("small", 50)]
    assert one["definitions"][0] == {"when": "cron 0 9 * * *", "timezone": "UTC", "jobs": 350}
    assert "--jitter" in one["remedy"]


@pytest.mark.usefixtures("orgs")
def test_the_load_of_one_org_is_its_own(cmis: Cmis) -> None:
    found = cmis("schedules", "load", "--days", "1", "--org", "small", "--json").json
    assert (found["jobs"], found["runs"], found["pile_ups"]) == (60, 60, [])


@pytest.mark.usefixtures("orgs")
def test_people_see_a_chart_and_a_warning(cmis: Cmis) -> None:
    done = cmis("schedules", "load", "--days", "3", "--timezone", "Asia/Kolkata")
    assert done.code == 0, done.err
    assert "380 active jobs" in done.out
    assert "hours are of Asia/Kolkata" in done.out
    assert done.out.count("██") >= 3
    assert "pile-up at" in done.out
    assert "most are of large 300, small 50" in done.out
    assert "cron 0 9 * * * (UTC) 350" in done.out


def test_no_job_is_an_empty_chart(cmis: Cmis, world: World) -> None:
    assert world.now()
    found = cmis("schedules", "load", "--json").json
    assert (found["jobs"], found["runs"], found["pile_ups"]) == (0, 0, [])
    assert "0 active jobs" in cmis("schedules", "load").out


def test_what_is_missing_or_wrong_is_named(cmis: Cmis, database: Site) -> None:
    assert "unknown time zone" in cmis("schedules", "load", "--timezone", "Mars").err
    alone = Cmis(cmis.capsys, {"DATABASE_URL": database.urls.app, "READONLY_DATABASE_URL": ""})
    done = alone("schedules", "load")
    assert (done.code, done.out) == (1, "")
    assert "READONLY_DATABASE_URL" in done.err

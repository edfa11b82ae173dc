"""`cmis optimize`, `cmis optimizations` and jobs that optimise, on the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from engine import invariants
from tests.unit.cli.running import Cmis
from tests.world import NOTIFY, SPENT, World

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dev.site import Site
    from tests.world import Org


@pytest.fixture
def world(world: World) -> Iterator[World]:
    yield world
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}
    assert broken == {}


@pytest.fixture
def org(world: World) -> Org:
    made = world.org("Acme")
    made.campaign(name="Spring sale")
    made.campaign(name="Other")
    made.rule(name="Pause it", priority="low", cooldown_minutes=60)
    made.rule(SPENT, NOTIFY, name="Tell it", cooldown_minutes=60)
    return made


@pytest.fixture
def cmis(database: Site, org: Org, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"DATABASE_URL": database.urls.app, "CMIS_ORG": str(org.id), "CMIS_TEST_CLOCK": "1"})


def test_an_org_is_optimised_now_and_again_without_a_second_change(cmis: Cmis) -> None:
    first = cmis("optimize", "--json").json
    assert (first["status"], first["trigger"], first["counts"]["acted"]) == ("success", "manual", 2)
    assert sorted(one["rule"] for one in first["executions"]) == ["Pause it", "Tell it"]
    assert {one["status"] for one in first["executions"]} == {"success"}
    assert [row["status"] for row in cmis("campaigns", "list", "--json").json] == ["paused", "paused"]
    again = cmis("optimize", "--json").json
    assert (again["status"], {one["skip_reason"] for one in again["executions"]}) == ("skipped", {"cooldown"})
    listed = cmis("optimizations", "list", "--json").json
    assert [row["optimization_id"] for row in listed] == [again["optimization_id"], first["optimization_id"]]
    assert cmis("optimizations", "show", first["optimization_id"], "--json").json == first


def test_one_campaign_is_optimised_and_people_read_what_came_of_it(cmis: Cmis) -> None:
    shown = cmis("optimize", "--campaign", "Spring sale")
    assert shown.code == 0
    assert "Pause it" in shown.out
    assert "Executions" in shown.out
    assert {row["name"]: row["status"] for row in cmis("campaigns", "list", "--json").json} == {
        "Other": "active",
        "Spring sale": "paused",
    }


def test_async_leaves_it_to_the_workers(cmis: Cmis, world: World) -> None:
    queued = cmis("optimize", "--async", "--json").json
    assert set(queued) == {"task_id", "optimization_id", "campaign_id", "state"}
    missing = cmis("optimizations", "show", queued["optimization_id"])
    assert (missing.code, missing.out) == (2, "")
    assert "see `cmis optimizations list`" in missing.err
    world.run_all()
    assert cmis("optimizations", "show", queued["optimization_id"], "--json").json["status"] == "success"


def test_a_job_that_optimises_is_added_listed_run_previewed_and_changed(cmis: Cmis, world: World) -> None:
    job = cmis("jobs", "add", "--optimize", "--campaign", "Spring sale", "--cron", "@hourly", "--json").json
    assert (job["name"], job["target_type"], job["rule_id"]) == ("Optimise Spring sale", "optimization", None)
    assert "optimise Spring sale" in cmis("jobs", "list").out
    assert len(cmis("jobs", "preview", job["name"], "--count", "3", "--json").json) == 3
    run = cmis("jobs", "run", job["name"], "--json").json
    world.run_all()
    [row] = cmis("jobs", "history", job["name"], "--json").json
    assert (row["execution_id"], row["outcome"]) == (run["execution_id"], "success")
    result = cmis("optimizations", "show", run["execution_id"], "--json").json
    assert (result["job_id"], result["counts"]["acted"]) == (job["job_id"], 2)
    changed = cmis("jobs", "update", job["name"], "--clear", "campaign", "--json").json
    assert changed["campaign_id"] is None
    assert "optimise all campaigns" in cmis("jobs", "list").out
    assert cmis("jobs", "show", job["name"], "--json").json["target_type"] == "optimization"
    assert cmis("schedules", "load", "--json").code == 0
    waited = cmis("jobs", "run", job["name"], "--wait", "--timeout", "1")
    assert (waited.code, waited.out) == (1, "")
    assert "no worker ran task" in waited.err
    world.run_all()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("optimize", "--campaign", "Nowhere"), "--campaign: there is no campaign 'Nowhere'"),
        (("jobs", "add", "--cron", "@daily"), "rule: is required"),
        (("jobs", "add", "--optimize", "--rule", "Pause it", "--cron", "@daily"), "rule: means nothing here"),
        (
            ("jobs", "add", "--rule", "Pause it", "--campaign", "Other", "--cron", "@daily"),
            "campaign: means nothing here",
        ),
        (("optimizations", "show", "nonsense"), "OPTIMIZATION: 'nonsense' is no id"),
    ],
)
def test_what_makes_no_sense_is_told(cmis: Cmis, arguments: tuple[str, ...], said: str) -> None:
    done = cmis(*arguments)
    assert (done.code, done.out) == (2, "")
    assert said in done.err

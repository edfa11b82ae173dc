"""Jobs steered and looked at on the command line, against the real database as the app role."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from engine import invariants
from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from dev.site import Site
    from tests.unit.cli.running import Done
    from tests.world import Org, World

EARLY = 20


@pytest.fixture
def world(world: World) -> Iterator[World]:
    yield world
    broken = {one.name: one.offenders for one in invariants.check(world.reader, drained=False) if one.offenders}
    assert broken == {}


@pytest.fixture
def org(world: World) -> Org:
    """Make an org with a rule; the clock is then early in its minute."""
    made = world.org("Acme", "Europe/Berlin")
    made.rule(name="Pause dear ones")
    made.campaign()
    if (late := world.now().second) > EARLY:
        world.advance(seconds=61 - late)
    return made


@pytest.fixture
def cmis(database: Site, org: Org, capsys: pytest.CaptureFixture[str]) -> Cmis:
    environ = {"DATABASE_URL": database.urls.app, "CMIS_ORG": str(org.id), "CMIS_TEST_CLOCK": "1"}
    return Cmis(capsys, environ)


def add(cmis: Cmis, *options: str, name: str = "minutely", cron: str = "* * * * *") -> Any:
    return cmis("jobs", "add", "--rule", "Pause dear ones", "--name", name, "--cron", cron, *options, "--json").json


def history(cmis: Cmis, *options: str) -> list[tuple[str, int, str | None]]:
    rows = cmis("jobs", "history", "minutely", *options, "--json").json
    return [(row["decision"], row["count"], row["reason"]) for row in rows]


def refused(done: Done) -> str:
    assert (done.code, done.out) == (2, "")
    return done.err


POLICIES = {
    "misfire": "all",
    "misfire_grace_seconds": 60,
    "overlap": "buffer_one",
    "jitter_seconds": 5,
    "max_executions": 9,
    "timeout_seconds": 20,
    "pause_on_failure_count": 3,
    "dst_gap": "skip",
    "dst_fold": "both",
    "execution_context": {"season": ["spring", 1.5, None]},
}
OPTIONS = [
    *("--misfire", "all", "--misfire-grace", "60", "--overlap", "buffer_one", "--jitter", "5", "--max-executions", "9"),
    *("--timeout", "20", "--pause-on-failures", "3", "--dst-gap", "skip", "--dst-fold", "both"),
    *("--context", json.dumps(POLICIES["execution_context"])),
]


def test_a_job_takes_every_policy_as_an_option(cmis: Cmis) -> None:
    job = add(cmis, *OPTIONS, cron="30 9 * * *")
    assert {name: job[name] for name in POLICIES} == POLICIES
    assert job["timezone"] == "Europe/Berlin"
    other = cmis(
        "jobs", "add", "--rule", "Pause dear ones", "--name", "31st", "--every", "monthly", "--month-end", "skip"
    )
    assert other.code == 0, other.err


def test_a_job_takes_all_of_it_from_a_file(cmis: Cmis, tmp_path: Path) -> None:
    document = {"rule": "Pause dear ones", "name": "filed", "cron_expression": "30 9 * * *", **POLICIES}
    (tmp_path / "job.json").write_text(json.dumps(document), encoding="utf-8")
    job = cmis("jobs", "add", "--file", str(tmp_path / "job.json"), "--json").json
    assert {name: job[name] for name in POLICIES} == POLICIES
    by_id = {"rule_id": job["rule_id"], "name": "by id", "frequency": "hourly"}
    (tmp_path / "job.json").write_text(json.dumps(by_id), encoding="utf-8")
    assert cmis("jobs", "add", "--file", str(tmp_path / "job.json"), "--json").json["frequency"] == "hourly"


def test_a_context_may_come_from_a_file(cmis: Cmis, tmp_path: Path) -> None:
    (tmp_path / "context.json").write_text('{"a": 1}', encoding="utf-8")
    assert add(cmis, "--context", f"@{tmp_path / 'context.json'}")["execution_context"] == {"a": 1}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--context", "[1]"), "execution_context: must be an object, not a list"),
        (("--context", "{"), "--context: is no JSON"),
        (("--context", json.dumps({"a": "x" * 17_000})), "execution_context: has 17008 bytes"),
        (("--context", "[" * 17 + "]" * 17), "execution_context"),
        (("--jitter", "3601"), "jitter_seconds: 3601 is no whole number from 0 to 3600"),
        (("--timeout", "0"), "timeout_seconds: 0 is no whole number from 1 to 3600"),
        (("--max-executions", "0"), "max_executions:"),
        (("--dst-gap", "skip", "--cron", "* * * * *"), "dst_gap: 'skip' would mean nothing"),
        (("--file", "-"), "--file: stands beside options for"),
        (("--once", "2030-01-01"), "schedule: is given by --cron and --once"),
    ],
)
def test_a_policy_that_cannot_be_is_refused(cmis: Cmis, options: tuple[str, ...], said: str) -> None:
    arguments = "--rule", "Pause dear ones", "--cron", "30 9 * * *", *options
    assert said in refused(cmis("jobs", "add", *arguments))
    assert cmis("jobs", "list", "--json").json == []


def test_a_blank_time_zone_is_refused_and_not_taken_for_the_orgs(cmis: Cmis) -> None:
    arguments = ("--rule", "Pause dear ones", "--cron", "@daily", "--timezone", "")
    assert "timezone: unknown time zone ''" in refused(cmis("jobs", "add", *arguments))


def test_a_job_without_a_rule_is_refused(cmis: Cmis) -> None:
    assert "rule: is required" in refused(cmis("jobs", "add", "--cron", "@daily"))


def test_a_job_is_paused_with_a_note_and_resumed_without_firing_the_past(cmis: Cmis, world: World) -> None:
    add(cmis)
    paused = cmis("jobs", "pause", "minutely", "--note", "until Monday", "--json").json
    assert (paused["status"], paused["pause_note"]) == ("paused", "until Monday")
    world.advance(minutes=10)
    resumed = cmis("jobs", "resume", "minutely", "--json").json
    assert (resumed["status"], resumed["pause_note"], resumed["run_count"]) == ("active", None, 0)
    assert history(cmis) == [("paused", 10, "paused: until Monday")]


def test_each_pause_keeps_its_own_note_in_the_history(cmis: Cmis, world: World) -> None:
    add(cmis)
    for note in (("--note", "first"), (), ("--note", "third")):
        cmis("jobs", "pause", "minutely", *note)
        world.advance(minutes=2)
        cmis("jobs", "resume", "minutely")
    reasons = ["paused: third", "paused", "paused: first"]
    assert history(cmis) == [("paused", 2, reason) for reason in reasons]


def test_the_past_may_be_caught_up_with(cmis: Cmis, world: World) -> None:
    add(cmis)
    cmis("jobs", "pause", "minutely")
    world.advance(minutes=10)
    assert cmis("jobs", "resume", "minutely", "--catch-up", "--json").json["last_scheduled_for"] is None
    world.dispatch()
    assert history(cmis) == [("run", 1, None), ("coalesced", 9, "missed, and a later one stood for it")]


def test_a_job_is_updated_by_what_is_given_and_the_rest_stays(cmis: Cmis, world: World) -> None:
    add(cmis, "--max-executions", "9")
    world.advance(minutes=3)
    changed = cmis("jobs", "update", "minutely", "--cron", "30 9 * * *", "--clear", "max-executions", "--json").json
    assert (changed["cron_expression"], changed["max_executions"], changed["timezone"]) == (
        "30 9 * * *",
        None,
        "Europe/Berlin",
    )
    assert history(cmis) == [("cancelled", 3, "the job was changed or paused before it could run")]
    once = cmis("jobs", "update", "minutely", "--once", "2100-01-01T09:00", "--json").json
    assert (once["schedule_type"], once["next_run_at"]) == ("once", "2100-01-01T08:00:00Z")


def test_a_job_is_updated_from_a_file(cmis: Cmis, tmp_path: Path) -> None:
    add(cmis, "--end", "2100-01-01")
    (tmp_path / "change.json").write_text('{"end_date": null, "name": "other"}', encoding="utf-8")
    changed = cmis("jobs", "update", "minutely", "--file", str(tmp_path / "change.json"), "--json").json
    assert (changed["name"], changed["end_date"]) == ("other", None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "job: no change is given"),
        (("--cron", "@daily", "--every", "daily"), "schedule: is given by --cron and --every"),
        (("--end", "2100-01-01", "--clear", "end"), "--clear: end is also given a value"),
        (("--at", "09:00"), "time_of_day: does not belong to a cron schedule"),
    ],
)
def test_a_change_that_cannot_be_is_refused(cmis: Cmis, options: tuple[str, ...], said: str) -> None:
    job = add(cmis)
    assert said in refused(cmis("jobs", "update", "minutely", *options))
    assert cmis("jobs", "list", "--json").json == [job]


def test_a_job_is_shown_with_its_next_times_and_its_failures(cmis: Cmis, world: World) -> None:
    add(cmis)
    first = cmis("jobs", "show", "minutely", "--json").json
    assert (first["run_open"], first["failures"], len(first["next_times"])) == (False, 0, 5)
    assert first["next_times"][0]["utc"] == first["next_run_at"]
    world.advance(minutes=1)
    world.dispatch()
    assert cmis("jobs", "show", "minutely", "--json").json["run_open"] is True
    world.run_all()
    world.meddle("UPDATE cmis.occurrences SET outcome = 'failure' WHERE decision = 'run'")
    ended = cmis("jobs", "show", "minutely", "--json").json
    assert (ended["run_open"], ended["failures"]) == (False, 1)
    assert "cron * * * * *" in cmis("jobs", "show", "minutely").out
    cmis("jobs", "pause", "minutely")
    assert cmis("jobs", "show", "minutely", "--json").json["next_times"] == []


def test_a_stored_job_is_previewed_with_its_badges(cmis: Cmis) -> None:
    cmis("jobs", "add", "--rule", "Pause dear ones", "--every", "monthly", "--day-of-month", "31", "--at", "09:00")
    rows = cmis("jobs", "preview", "Pause dear ones", "--from", "2030-03-31T09:00", "--count", "2", "--json").json
    assert rows == [
        {"utc": "2030-04-30T07:00:00Z", "local": "2030-04-30T09:00:00+02:00", "note": "month_end"},
        {"utc": "2030-05-31T07:00:00Z", "local": "2030-05-31T09:00:00+02:00", "note": None},
    ]
    assert (
        "last day: the month is shorter" in cmis("jobs", "preview", "Pause dear ones", "--from", "2030-03-31T10:00").out
    )


def test_a_range_is_backfilled_once(cmis: Cmis, world: World) -> None:
    job = add(cmis, cron="30 9 * * *")
    day = datetime.fromisoformat(job["created_at"]) - timedelta(days=10)
    options = "minutely", "--from", f"{day:%Y-%m-%d}", "--to", f"{day + timedelta(days=3):%Y-%m-%d}", "--json"
    first, second = (cmis("jobs", "backfill", *options).json for _ in range(2))
    assert (first["planned"], first["queued"], first["already"]) == (3, 3, 0)
    assert (second["planned"], second["queued"], second["already"]) == (3, 0, 3)
    assert first["from"].endswith(("T22:00:00Z", "T23:00:00Z"))
    world.advance(minutes=1)
    world.run_all()
    rows = cmis("jobs", "history", "minutely", "--json").json
    assert [(row["origin"], row["decision"], row["reason"]) for row in rows] == [("backfill", "run", None)] * 3
    assert rows[0]["scheduled_for"] > rows[1]["scheduled_for"]
    [entry, _] = cmis("audit", "list", "--action", "job_backfilled", "--json").json
    assert (entry["entity_id"], entry["details"]["already"]) == (job["job_id"], 3)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--from", "2d", "--to", "3d"), "--to: is before --from"),
        (("--from", "2d", "--to", "2190-01-01"), "is still to come"),
        (("--from", "2d", "--to", "1d"), "holds 1440 planned times (give a range of at most 1000"),
        (("--from", "soon", "--to", "1d"), "--from: 'soon' is no time"),
    ],
)
def test_a_range_that_cannot_be_backfilled_is_refused(cmis: Cmis, options: tuple[str, ...], said: str) -> None:
    add(cmis)
    assert said in refused(cmis("jobs", "backfill", "minutely", *options))


def test_a_run_by_hand_has_the_time_limit_and_the_context_of_its_job(cmis: Cmis, world: World) -> None:
    add(cmis, "--timeout", "33", "--context", '{"season": "spring"}')
    run = cmis("jobs", "run", "minutely", "--json").json
    [(timeout, context)] = world.rows(
        "SELECT timeout_seconds, payload -> 'groups' -> 0 -> 'items' -> 0 -> 'context' FROM cmis.tasks"
    )
    assert (timeout, context) == (33, {"season": "spring"})
    world.run_all()
    assert cmis("executions", "show", run["execution_id"], "--json").json["context"]["season"] == "spring"


def test_the_history_is_newest_first_cut_and_chosen(cmis: Cmis, world: World) -> None:
    add(cmis, "--overlap", "skip")
    for _ in range(3):
        world.advance(minutes=1)
        world.dispatch()
    skipped = ("overlap_skipped", 1, "a run was open")
    assert history(cmis) == [skipped, skipped, ("run", 1, None)]
    assert history(cmis, "--decision", "run") == [("run", 1, None)]
    assert history(cmis, "--limit", "1") == [skipped]
    assert "the first 1 are shown" in cmis("jobs", "history", "minutely", "--limit", "1").err
    assert "a run was open" in cmis("jobs", "history", "minutely").out
    world.advance(days=3)
    assert history(cmis, "--since", "1d") == []


def test_a_stretch_that_reaches_into_the_period_is_part_of_it(cmis: Cmis, world: World) -> None:
    add(cmis, cron="30 9 * * *")
    cmis("jobs", "pause", "minutely", "--note", "a year off")
    world.advance(days=365)
    cmis("jobs", "resume", "minutely")
    assert history(cmis, "--since", "7d") == [("paused", 365, "paused: a year off")]
    assert history(cmis, "--since", "7d", "--decision", "run") == []
    world.advance(days=8)
    assert history(cmis, "--since", "7d") == []


def test_lateness_is_told_by_the_grace(cmis: Cmis, world: World) -> None:
    add(cmis, "--misfire", "skip")
    world.advance(minutes=5)
    world.dispatch()
    assert history(cmis, "--decision", "misfired") == [("misfired", 4, "more than 60 s late")]
    cmis("jobs", "update", "minutely", "--misfire", "once", "--misfire-grace", "120")
    world.advance(minutes=5)
    world.dispatch()
    assert history(cmis, "--decision", "misfired")[0][2] == "more than 120 s late"


def test_a_limit_that_was_lifted_tells_what_it_held_back(cmis: Cmis, world: World) -> None:
    add(cmis, "--max-executions", "1")
    world.advance(minutes=1)
    world.dispatch()
    world.advance(minutes=4)
    assert cmis("jobs", "update", "minutely", "--max-executions", "2", "--json").json["status"] == "active"
    assert history(cmis) == [("limit_reached", 4, "max_executions was reached"), ("run", 1, None)]


@pytest.mark.parametrize("verb", ["pause", "resume", "show", "preview", "history", "update", "backfill"])
def test_an_unknown_job_is_told_with_where_to_look(cmis: Cmis, verb: str) -> None:
    options = {"update": ("--jitter", "1"), "backfill": ("--from", "2d", "--to", "1d")}.get(verb, ())
    assert "there is no job 'nope' (see `cmis jobs list`)" in refused(cmis("jobs", verb, "nope", *options))

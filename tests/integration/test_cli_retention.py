"""`cmis retention`: what is kept for how long, said and changed by the owner of a deployment alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.unit.cli.running import Cmis

if TYPE_CHECKING:
    from dev.site import Site


@pytest.fixture
def cmis(database: Site, capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {"MIGRATION_DATABASE_URL": database.urls.migration})


def months(site: Site) -> tuple[int, ...]:
    with psycopg.connect(site.urls.migration) as connection:
        row = connection.execute("SELECT work_months, workflow_months, audit_months FROM cmis.retention").fetchone()
    assert row is not None
    return row


def test_it_is_shown_for_each_table(cmis: Cmis) -> None:
    done = cmis("retention", "show", "--json")
    shown = {row["relation"]: row for row in done.json}
    assert {name: row["months"] for name, row in shown.items()} == {
        "automation_executions": 13,
        "automation_actions": 13,
        "task_attempts": 13,
        "occurrences": 13,
        "workflow_instances": 13,
        "automation_audit_log": 25,
    }
    assert (shown["occurrences"]["partitions"], shown["occurrences"]["kept_from"]) == (7, None)
    assert "automation_audit_log" in cmis("retention", "show").out


def test_what_is_not_named_stays(cmis: Cmis, database: Site) -> None:
    assert cmis("retention", "set", "--audit", "36", "--json").json == {
        "work_months": 13,
        "workflow_months": 13,
        "audit_months": 36,
    }
    assert "work 13, workflow 24, audit 36" in cmis("retention", "set", "--workflows", "24").out
    assert months(database) == (13, 24, 36)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--work", "2"], "--work: 2 months cannot be kept"),
        (["--workflows", "1201"], "--workflows: 1201 months cannot be kept"),
        (["--audit", "12"], "--audit: the audit log would go after 12 months, before what it tells of"),
        (["--work", "30"], "--audit: the audit log would go after 25 months"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(cmis: Cmis, database: Site, arguments: list[str], said: str) -> None:
    done = cmis("retention", "set", *arguments)
    assert done.code == 2
    assert said in " ".join(done.err.split())
    assert months(database) == (13, 13, 25)


def test_keeping_less_is_asked_for_twice(cmis: Cmis, database: Site) -> None:
    assert cmis("retention", "set", "--work", "6").code != 0  # nobody answers
    assert months(database) == (13, 13, 25)
    assert cmis("retention", "set", "--work", "6", "--yes").code == 0
    assert months(database) == (6, 13, 25)


def test_the_products_own_roles_may_not_change_it(database: Site, capsys: pytest.CaptureFixture[str]) -> None:
    for url in (database.urls.app, database.urls.scheduler, database.urls.readonly):
        done = Cmis(capsys, {"MIGRATION_DATABASE_URL": url})("retention", "set", "--work", "24")
        assert done.code == 1
        assert "Traceback" not in done.err
    assert months(database) == (13, 13, 25)

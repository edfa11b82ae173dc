from __future__ import annotations

import subprocess
import sys

import click
import psycopg
import pytest
from sqlalchemy.exc import DBAPIError

from cli import main as entry
from cli.job_options import job_document, when
from cli.lazy import LazyGroup
from cli.main import cli, failure
from core.commits import CommitUnknownError
from core.errors import InputError, Problem, SetupError, TransientError
from tests.unit.cli.running import Cmis

NO_JOB_OPTIONS = dict.fromkeys(
    ("cron_expression", "once", "frequency", "start_date", "days_of_week", "execution_context", "path")
)

NO_UTF8 = UnicodeEncodeError("utf-8", "\udcff", 0, 1, "no")


def database_error(kind: type[psycopg.Error], message: str) -> DBAPIError:
    return DBAPIError("SELECT", {}, kind(message))


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (InputError([Problem("a", "x"), Problem("b", "y", "z")]), 2, ["a: x", "b: y (z)"]),
        (SetupError("it is off", "switch it on"), 1, ["it is off (switch it on)"]),
        (TransientError("later"), 1, ["later"]),
        (NO_UTF8, 2, ["an argument holds bytes that are no UTF-8 text: '\\udcff'"]),
        (
            CommitUnknownError("COMMIT", None, psycopg.OperationalError("the connection is lost")),
            1,
            [
                (
                    "the connection to DATABASE_URL ended during the commit, and nobody answers since: it may be done "
                    "or not (look before you try again: `list` and `show` of the same group say)"
                )
            ],
        ),
        (ValueError("oops"), 1, ["internal error: ValueError: oops (CMIS_DEBUG=1 shows where)"]),
        (
            database_error(psycopg.errors.InsufficientPrivilege, "user 1 is no active member of org 2"),
            2,
            ["--as: user 1 is no active member of org 2 (give the id of an active member, or leave --as out)"],
        ),
        (
            database_error(psycopg.errors.InsufficientPrivilege, "user 1 is no operator of org 2"),
            2,
            ["--as: user 1 is no operator of org 2 (act as a member who is operator or more)"],
        ),
        (
            database_error(psycopg.errors.InsufficientPrivilege, "permission denied for table rules"),
            1,
            ["DATABASE_URL connects as the wrong role: permission denied for table rules (use cmis_app)"],
        ),
    ],
)
def test_every_error_has_its_code_and_its_lines(error: Exception, code: int, said: list[str]) -> None:
    assert failure(error) == (code, said)


def test_a_missing_schema_points_to_migrate() -> None:
    code, [line] = failure(database_error(psycopg.errors.UndefinedTable, 'relation "cmis.orgs" does not exist'))
    assert code == 1
    assert line.endswith("(run `cmis migrate`)")


def test_a_statement_that_took_too_long_says_so_and_how_to_ask_for_less() -> None:
    code, [line] = failure(database_error(psycopg.errors.QueryCanceled, "canceling statement due to statement timeout"))
    assert code == 1
    assert "took longer for a statement than its limit, and ended it: canceling statement" in line
    assert "(narrow the question (a shorter time, a lower limit, one org), or ask again" in line
    assert "cannot be used" not in line


def test_a_wrong_statement_is_a_bug_and_not_the_environment() -> None:
    code, [line] = failure(database_error(psycopg.errors.CheckViolation, "new row violates check"))
    assert code == 1
    assert line.startswith("internal error: ")


@pytest.fixture
def cmis(capsys: pytest.CaptureFixture[str]) -> Cmis:
    return Cmis(capsys, {})


def make_command(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    @click.command("break")
    def broken() -> None:
        raise error

    monkeypatch.setitem(cli.commands, "break", broken)


def test_a_bug_is_one_line_without_a_traceback(cmis: Cmis, monkeypatch: pytest.MonkeyPatch) -> None:
    make_command(monkeypatch, KeyError("[/bold] x"))
    done = cmis("break")
    assert (done.code, done.out) == (1, "")
    assert done.err == "error internal error: KeyError: '[/bold] x' (CMIS_DEBUG=1 shows where)\n"


def test_a_bug_shows_where_with_cmis_debug(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    make_command(monkeypatch, KeyError("x"))
    monkeypatch.setenv("CMIS_DEBUG", "1")
    monkeypatch.setattr("sys.argv", ["cmis", "break"])
    with pytest.raises(KeyError):
        entry.main()
    capsys.readouterr()


def test_an_interrupt_ends_with_130(cmis: Cmis, monkeypatch: pytest.MonkeyPatch) -> None:
    make_command(monkeypatch, KeyboardInterrupt())
    assert cmis("break").code == 130


def test_an_unknown_command_ends_with_2(cmis: Cmis) -> None:
    done = cmis("brake")
    assert done.code == 2
    assert "No such command 'brake'" in done.err


def test_the_list_of_commands_is_shown_whole_and_each_is_where_it_is_said_to_be(cmis: Cmis) -> None:
    assert isinstance(cli, LazyGroup)
    listed = cmis("--help").out.splitlines()
    for name, place in cli.places.items():
        assert [line for line in listed if line.split(maxsplit=1) == [name, place.about]], name
        assert place.load().name == name


def test_one_command_is_run_without_importing_the_others() -> None:
    shown = "import sys, cli.main as m; m.cli(['migrate', '--help'], standalone_mode=False); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert "cli.migrate" in run.stdout
    assert "cli.rules" not in run.stdout


def test_help_ends_with_0(cmis: Cmis) -> None:
    done = cmis("jobs", "add", "--help")
    assert done.code == 0
    assert 'cmis jobs add --org acme --rule "Pause dear campaigns" --every weekly --on mon,thu --at 09:00' in done.out


@pytest.mark.parametrize("group", ["orgs", "rules", "campaigns", "executions", "audit", "jobs"])
def test_every_command_has_help_with_an_example(cmis: Cmis, group: str) -> None:
    found = cli.get_command(click.Context(cli), group)
    assert isinstance(found, click.Group)
    for name, command in found.commands.items():
        assert "Example" in (command.help or ""), f"{group} {name}"
        assert cmis(group, name, "--help").code == 0


def test_without_database_url_the_variable_is_named(cmis: Cmis) -> None:
    done = cmis("orgs", "list", "--json")
    assert (done.code, done.out) == (1, "")
    assert "DATABASE_URL is not set" in done.err


def test_a_negative_limit_is_refused(cmis: Cmis) -> None:
    done = cmis("executions", "list", "--org", "acme", "--limit", "-1")
    assert done.code == 2
    assert "'--limit'" in done.err


def test_a_schedule_is_given_in_exactly_one_way() -> None:
    with pytest.raises(InputError, match=r"schedule: is given by none \(give one of --cron, --once, --every\)"):
        job_document(NO_JOB_OPTIONS)
    with pytest.raises(InputError, match="is given by --cron and --every"):
        job_document(NO_JOB_OPTIONS | {"cron_expression": "@daily", "frequency": "daily"})


def test_once_is_a_start_date_and_takes_no_other() -> None:
    document = job_document(NO_JOB_OPTIONS | {"once": "2030-01-01"})
    assert (document["schedule_type"], document["start_date"]) == ("once", "2030-01-01")
    with pytest.raises(InputError, match="--start: means nothing beside --once"):
        job_document(NO_JOB_OPTIONS | {"once": "2030-01-01", "start_date": "2030-01-01"})


def test_a_recurrence_is_told_in_words() -> None:
    job = {"schedule_type": "recurring", "frequency": "weekly", "interval": 2, "days_of_week": [1, 4]}
    assert when(job | {"day_of_month": None, "time_of_day": None}) == "weekly (each 2) on mon,thu"

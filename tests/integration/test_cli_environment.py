"""What is wrong with the environment is one message that names the variable, and exit code 1; never a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.cli.running import Cmis, Done

if TYPE_CHECKING:
    from dev.site import Site


def list_rules(capsys: pytest.CaptureFixture[str], url: str) -> Done:
    return Cmis(capsys, {"DATABASE_URL": url})("rules", "list", "--org", "acme", "--json")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://cmis_app@127.0.0.1:1/cmis", "DATABASE_URL cannot be used"),
        ("mysql://cmis_app@127.0.0.1/cmis", "DATABASE_URL names mysql, but only PostgreSQL is supported"),
        ("nonsense", "DATABASE_URL is no database URL"),
    ],
)
def test_a_url_that_leads_nowhere_is_told(capsys: pytest.CaptureFixture[str], url: str, said: str) -> None:
    done = list_rules(capsys, url)
    assert (done.code, done.out) == (1, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_database_that_is_not_there_is_told(database: Site, capsys: pytest.CaptureFixture[str]) -> None:
    done = list_rules(capsys, database.urls.on("cmis_nowhere").app)
    assert done.code == 1
    assert "DATABASE_URL cannot be used" in done.err
    assert "cmis_nowhere" in done.err


def test_a_database_without_the_schema_points_to_migrate(database: Site, capsys: pytest.CaptureFixture[str]) -> None:
    done = list_rules(capsys, database.urls.on("template1").app)
    assert done.code == 1
    assert "run `cmis migrate`" in done.err


def test_an_administrators_url_is_refused(database: Site, capsys: pytest.CaptureFixture[str]) -> None:
    done = list_rules(capsys, database.urls.migration)
    assert done.code == 1
    assert "tenants would not be isolated" in done.err


def test_the_wrong_login_role_is_told_with_the_right_one(database: Site, capsys: pytest.CaptureFixture[str]) -> None:
    done = list_rules(capsys, database.urls.readonly)
    assert done.code == 1
    assert "DATABASE_URL connects as the wrong role" in done.err
    assert "cmis_app" in done.err

"""Settings: numbers within their bounds, and URLs that are shown without their password, however wrong they are."""

from __future__ import annotations

import pytest

from core.config import Settings, redact
from core.errors import SetupError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:s3cret@host:5432/db",
        "postgresql://user:s3cret@host:port/db",
        "postgresql://user:s3cret@[::bad:5432/db",
        "postgresql://user:pa/s3cret@host/db",
        "postgresql://user:pa@s3cret@host/db",
        "postgresql://user:pa?s3cret#s3cret@host/db",
        "postgresql://user@host/db?password=s3cret&sslpassword=s3cret",
        "redis://:s3cret@host:6379/0",
        "host=127.0.0.1 password=s3cret",
        "user:s3cret@host/db",
        "s3cret",
    ],
)
def test_a_password_is_never_shown(url: str) -> None:
    assert "s3cret" not in redact(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:p@host:port/db?x=1", "postgresql://user:***@host:port/db?x=1"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
    ],
)
def test_the_rest_of_a_url_is_shown(url: str, shown: str) -> None:
    assert redact(url) == shown


def test_numbers_have_defaults_and_are_read() -> None:
    settings = Settings.load({"CMIS_CHUNK": "7", "CMIS_ORG_UNFINISHED": ""})
    assert (settings.chunk, settings.org_unfinished, settings.queue_waiting) == (7, 8, 2_000)
    assert settings.queue_at_once == 16


@pytest.mark.parametrize("text", ["0", "101", "-1", "ten", "1.5", "9" * 5_000])
def test_a_number_out_of_range_is_refused_with_its_name_and_bounds(text: str) -> None:
    with pytest.raises(SetupError, match=r"CMIS_CHUNK is .* no whole number from 1 to 100"):
        Settings.load({"CMIS_CHUNK": text})


def test_health_is_answered_nowhere_unless_a_port_is_given() -> None:
    assert Settings.load({"CMIS_HEALTH_PORT": ""}).health_port is None
    settings = Settings.load({"CMIS_HEALTH_PORT": "8080"})
    assert (settings.health_port, settings.health_host) == (8080, "127.0.0.1")
    with pytest.raises(SetupError, match=r"CMIS_HEALTH_PORT is '80800', which is no whole number from 1 to 65535"):
        Settings.load({"CMIS_HEALTH_PORT": "80800"})

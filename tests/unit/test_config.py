"""What a message says of a URL never holds its password, however wrong the URL is."""

from __future__ import annotations

import pytest

from core.config import redact


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

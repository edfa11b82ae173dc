"""The receivers as fixtures."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.receiver.authority import Authority
from tests.receiver.mail import Mailbox
from tests.receiver.web import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give the test a receiver of HTTP that honours keys."""
    with Receiver() as made:
        yield made


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Make a certificate authority for the session."""
    return Authority.create(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def secure_receiver(authority: Authority) -> Iterator[Receiver]:
    """Give the test a receiver of HTTPS for the name `hooks.example.com`."""
    with Receiver(tls=authority.context("hooks.example.com")) as made:
        yield made


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    """Give the test a receiver of mail."""
    with Mailbox() as made:
        yield made

"""Signatures: the public package verifies them, and secrets are read as strictly as the standard says."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.errors import PermanentError
from engine.deliver.couriers.signing import signed

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the standard's example
BODY = '{"text":"ä","n":1}'


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))])
@pytest.mark.parametrize("secret", [SECRET, SECRET.removeprefix("whsec_")])
def test_the_public_package_verifies_what_is_signed(zone: timezone, secret: str) -> None:
    now = datetime.now(zone)
    headers = signed(secret, BODY, key="a:0:b", now=now)
    assert headers["webhook-id"] == headers["idempotency-key"] == "a:0:b"
    assert headers["webhook-timestamp"] == str(int(now.timestamp()))
    assert Webhook(SECRET).verify(BODY, headers) == {"text": "ä", "n": 1}


@pytest.mark.parametrize("spoiled", ["webhook-id", "webhook-timestamp"])
def test_the_signature_is_of_key_time_and_body(spoiled: str) -> None:
    now = datetime.now(UTC)
    headers = signed(SECRET, BODY, key="a:0:b", now=now)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY + " ", headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(BODY, {**headers, spoiled: str(int(now.timestamp()) - 1)})


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        "whsec_short",
        "secret://webhook_signing",
        "correct horse battery staple",
        SECRET + "!",
        SECRET + "=a",
        "whsec_" + base64.b64encode(b"x" * 23).decode(),
        "whsec_" + base64.b64encode(b"x" * 65).decode(),
        "whsec_" + "a" * 33,
    ],
)
def test_a_secret_that_is_none_of_the_standard_is_refused_and_not_shown(secret: str) -> None:
    with pytest.raises(PermanentError, match="cmis secrets generate") as caught:
        signed(secret, BODY, key="k", now=datetime.now(UTC))
    assert len(secret) < 8 or secret not in str(caught.value)

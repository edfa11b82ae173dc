"""References to secrets: found anywhere in params, resolved in few places of a message, taken out of answers."""

from __future__ import annotations

import json
import logging
import pickle
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PermanentError
from engine.secrets.references import fill, found, names, redact
from engine.secrets.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Sequence

VALUE = "s3cr3t/va+lue"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("secret://token", ["token"]),
        ("Bearer secret://token", ["token"]),
        ("https://x.test/secret://a-b_1/in?k=secret://token&y=1", ["a-b_1", "token"]),
        ("secret://secret://token", [None, "token"]),
        (f"secret://{'a' * 63}", ["a" * 63]),
        (f"secret://{'a' * 64}", [None]),
        ("secret://Token", [None]),
        ("secret://tokEn", [None]),
        ("secret://1", [None]),
        ("secret://", [None]),
        ("secret:/token, secrets: //token, SECRET://token", []),
    ],
)
def test_a_reference_is_found_in_a_text(text: str, expected: Sequence[str | None]) -> None:
    assert list(found(text, "p")) == [("p", name) for name in expected]


def test_references_are_found_at_their_paths() -> None:
    params = {"url": "secret://a", "headers": {"x-key": "Bearer secret://b"}, "list": [1, None, {"y": "secret://c"}]}
    assert list(found(params, "actions[0].params")) == [
        ("actions[0].params.url", "a"),
        ("actions[0].params.headers.x-key", "b"),
        ("actions[0].params.list[2].y", "c"),
    ]


def test_what_others_write_into_a_message_resolves_nothing() -> None:
    """The name of a campaign or the payload of an event may read like a reference, and goes to whoever is called."""
    theirs = {"campaign": {"name": "secret://signing"}, "event": ["secret://signing", "secret://nope"]}
    message = {"url": "https://x.test", "headers": {"x": "y"}, "signing_secret": "secret://signing", "body": theirs}
    message |= {"text": "secret://signing", "subject": "secret://signing"}
    assert names(message) == {"signing"}
    filled = fill(message, {"signing": VALUE})
    assert filled["signing_secret"] == VALUE
    assert VALUE not in json.dumps({key: filled[key] for key in ("body", "text", "subject", "url", "headers")})
    assert filled["body"] == theirs


def test_each_text_that_holds_a_value_hides_it_and_the_others_stay() -> None:
    headers = {"authorization": "Bearer secret://token", "x": "plain"}
    message = {"url": "https://x.test/?k=secret://token", "headers": headers}
    filled = fill(message, {"token": Secret(VALUE)})
    assert filled["url"].reveal() == f"https://x.test/?k={VALUE}"
    assert filled["headers"]["authorization"].reveal() == f"Bearer {VALUE}"
    assert type(filled["headers"]["x"]) is str
    assert VALUE not in f"{filled} {filled['url']}"
    assert message["headers"] == headers, "the message itself is left as it was"


def test_a_secret_that_is_not_there_is_named_with_the_remedy() -> None:
    with pytest.raises(PermanentError, match=r"no secret 'b' \(`cmis secrets set b`\)"):
        fill({"url": "secret://a", "headers": {"x": "secret://b"}}, {"a": VALUE})


@given(st.text(), st.text(min_size=1))
def test_a_value_is_put_in_as_it_is(around: str, value: str) -> None:
    around = around.replace("secret://", "")
    assert fill({"url": f"{around}\nsecret://a\n"}, {"a": value})["url"].reveal() == f"{around}\n{value}\n"


@pytest.mark.parametrize(
    "show", [repr, str, "{}".format, "{!r}".format, "%s".__mod__, "{:>20}".format, lambda s: f"{s}"]
)
def test_a_secret_does_not_show_itself(show: Any) -> None:
    secret = Secret(VALUE)
    assert show(secret) == "***"
    assert VALUE not in repr([secret, {"x": (secret,)}])
    assert secret.reveal() == VALUE
    assert type(secret.reveal()) is str
    assert secret == VALUE


def test_a_secret_does_not_show_itself_in_a_log_or_a_traceback(caplog: pytest.LogCaptureFixture) -> None:
    secret = Secret(VALUE)
    try:
        raise ValueError("refused: %r" % {"url": secret}, secret)  # noqa: TRY301, UP031
    except ValueError:
        logging.getLogger("test").exception("%s %r %s", secret, secret, [secret])
    assert "refused" in caplog.text
    assert VALUE not in caplog.text


def test_a_secret_stays_one_when_it_is_copied_between_processes() -> None:
    copied = pickle.loads(pickle.dumps(Secret(VALUE)))  # noqa: S301 - our own bytes
    assert (type(copied), copied.reveal()) == (Secret, VALUE)


@pytest.mark.parametrize(
    "answer",
    [
        f"bad token {VALUE} given",
        f"no route /?token={quote(VALUE, safe='')}",
        f"no route /{quote(VALUE)}/x",
        json.dumps({"error": VALUE}),
        f"cut off in the middle: {VALUE[:-1]}",
        f"cut off in the middle: {VALUE[:5]}",
    ],
)
def test_an_answer_that_repeats_a_value_is_told_without_it(answer: str) -> None:
    told = redact(answer, [Secret(VALUE), "other"])
    assert VALUE[:5] not in told
    assert quote(VALUE, safe="")[:8] not in told
    assert "***" in told


def test_a_url_that_is_a_secret_is_not_told_by_its_path() -> None:
    url = "https://hooks.test/services/T1/B2/abcdef?k=v1234"
    for said in ("/services/T1/B2/abcdef was not found", "GET /services/T1/B2/abcdef?k=v1234: 404", "k=v1234 is wrong"):
        told = redact(said, [url])
        assert "abcdef" not in told
        assert "v1234" not in told


def test_a_value_within_another_is_taken_out_with_it() -> None:
    assert redact("abcdef and abc", ["abc", "abcdef"]) == "*** and ***"
    assert redact("nothing of it", ["abc", ""]) == "nothing of it"

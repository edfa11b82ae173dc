"""The contract of a courier: it takes messages of one channel outside, and understands the answers.

A courier holds no transaction and no lock: what it does lies between the commit of the intent and that of the result.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from engine.deliver.answers import Answer
    from models.enums import Channel

Message: TypeAlias = "Mapping[str, Any]"
"""A message whose references to secrets have been resolved; in a worker's memory only, never to be logged or stored."""


class Courier(ABC):
    """The way of one channel."""

    channel: ClassVar[Channel]
    keyed: ClassVar[bool]
    """Whether the receiver does what has one key once: only then a message whose fate is unknown is sent again."""

    @abstractmethod
    def destination(self, message: Message) -> str:
        """Return the server that is called: scheme, host and port. Raises PermanentError if the message names none."""

    @abstractmethod
    def account(self, message: Message) -> str | None:
        """Return the name of the token bucket that it takes from besides the org's, if any; nothing secret."""

    @abstractmethod
    def deliver(self, messages: Sequence[Message], *, key: str, now: datetime) -> Answer:
        """Make one call of bounded time and size, with this idempotency key; several messages where people read them.

        Raises nothing that a receiver, a network or a message can cause: it is an answer.
        """

    def find(self, message: Message, *, key: str) -> bool | None:
        """Say whether what was sent under this key arrived; None where the receiver cannot be asked."""
        del message, key
        return None

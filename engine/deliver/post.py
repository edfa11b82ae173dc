"""The post office of a worker: its couriers, the keys of secrets, the rates that a deployment allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.deliver.bucket import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Row

    from engine.deliver.courier import Courier
    from engine.secrets.sealing import Keys
    from models.enums import Channel

ORG: Final = "org"
"""The bucket of everything that an org delivers."""
_ACCOUNT: Final = Rate(60, 5)
"""What an account may get that has no rate of its own: a message a second, as Slack allows each of its webhooks."""


@dataclass(frozen=True, slots=True)
class Post:
    """What deliveries are made with; one for each process."""

    couriers: Mapping[Channel, Courier]
    keys: Keys
    org_deliveries: int
    """Deliveries a minute that an org may make which has no rate of its own."""

    def rate(self, bucket: Row[Any]) -> Rate:
        """Return the rate of a bucket: its own, or the deployment's."""
        if bucket.rate_per_minute is not None:
            return Rate.of(bucket.rate_per_minute, bucket.burst)
        return Rate.of(self.org_deliveries) if bucket.bucket == ORG else _ACCOUNT

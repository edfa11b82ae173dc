"""The couriers of this deployment, by channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.deliver.couriers.connector import ConnectorCourier
from engine.deliver.couriers.email import EmailCourier
from engine.deliver.couriers.slack import SlackCourier
from engine.deliver.couriers.smtp import Server
from engine.deliver.couriers.webhook import WebhookCourier
from engine.egress.allow import Allow
from engine.egress.client import Egress

if TYPE_CHECKING:
    from collections.abc import Mapping

    from core.config import Settings
    from engine.deliver.courier import Courier
    from models.enums import Channel


def couriers(settings: Settings) -> Mapping[Channel, Courier]:
    """Return a courier for every channel that can be served. Raises SetupError where the settings make no sense."""
    egress = Egress(Allow.parse(settings.egress_allow))
    mail = EmailCourier(Server.parse(settings.smtp_url) if settings.smtp_url else None, settings.smtp_from)
    made: list[Courier] = [WebhookCourier(egress), SlackCourier(egress), ConnectorCourier(egress), mail]
    return {courier.channel: courier for courier in made}

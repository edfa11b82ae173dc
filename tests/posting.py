"""Deliveries for tests: effects that are queued for a receiver, without a rule that asked for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import insert

import models
from core.config import Settings
from core.ids import uuid7
from engine.deliver import service
from engine.deliver.couriers.registry import couriers
from engine.deliver.enqueue import Parcel
from engine.deliver.post import Post
from engine.secrets.sealing import Keys
from engine.store import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from tests.world import Org

SIGNING: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""What webhooks of `Desk` are signed with; the org's secret `signing`."""
SECRET_KEYS: Final = "test=AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="  # noqa: S105 - a test's


def settings(**environ: str) -> Settings:
    """Return a worker's settings that let it call this machine."""
    return Settings.load({"CMIS_EGRESS_ALLOW": "127.0.0.1", "CMIS_SECRET_KEYS": SECRET_KEYS} | environ)


def post_of(given: Settings) -> Post:
    """Return the post office of a worker with these settings."""
    return Post(couriers(given), Keys.load(given), given.org_deliveries)


@dataclass
class Desk:
    """Where an org's deliveries are handed in, and a worker that delivers them."""

    org: Org
    post: Post = field(default_factory=lambda: post_of(settings()))

    def keep(self, name: str, value: str) -> None:
        """Give the org a secret."""
        sealed = Keys.load(settings()).seal(self.org.id, name, value)
        now = self.org.world.now()
        row = {"name": name, "key_id": sealed.key_id, "nonce": sealed.nonce, "ciphertext": sealed.ciphertext}
        with self.org.world.app.transaction(self.org.context) as connection:
            times = {"secret_id": uuid7(now), "created_at": now, "updated_at": now}
            connection.execute(insert(models.Secret), row | times | {"org_id": self.org.id})

    def webhook(self, url: str, body: Mapping[str, Any] | None = None, **message: Any) -> UUID:
        """Hand in a webhook, signed; returns its task."""
        signed = {"url": url, "headers": {}, "body": body or {"n": 1}, "signing_secret": "secret://signing"}
        return self.hand_in("webhook", signed | message)

    def slack(self, url: str, *texts: str) -> UUID:
        """Hand in one message for Slack, of so many effects."""
        return self.hand_in("slack", *({"url": url, "text": text} for text in texts))

    def hand_in(self, channel: str, *messages: Mapping[str, Any], **columns: Any) -> UUID:
        """Queue effects of no execution, and the task that delivers them together; returns it."""
        now = self.org.world.now()
        entity_id = columns.pop("entity_id", None) or self.org.campaign({})
        parcel = Parcel(uuid7(now), [uuid7(now) for _ in messages])
        rows = [
            {
                "org_id": self.org.id,
                "action_id": action_id,
                "task_id": parcel.task_id,
                "position": 0,
                "type": "trigger_webhook",
                "entity_type": "campaign",
                "entity_id": entity_id,
                "after": message,
                "idempotency_key": f"key:{action_id}",
                "status": "queued",
                "channel": channel,
                "created_at": now,
                **columns,
            }
            for action_id, message in zip(parcel.action_ids, messages, strict=True)
        ]
        with self.org.world.app.transaction(self.org.context) as connection:
            connection.execute(insert(models.AutomationAction), rows)
            tasks.insert(connection, [parcel.row(self.org.id, now=now)], now=now)
        return parcel.task_id

    def run(self, task_id: UUID) -> service.Result:
        """Do what a worker does with the task's message."""
        return service.run(self.org.world.app, self.org.id, task_id, worker="worker", post=self.post)

    def effects(self, task_id: UUID) -> Sequence[Any]:
        """Read the effects of a task."""
        query = "SELECT * FROM cmis.automation_actions WHERE task_id = :task_id ORDER BY action_id"
        return self.org.world.rows(query, task_id=task_id)

    def effect(self, task_id: UUID) -> Any:
        """Read the one effect of a task."""
        [row] = self.effects(task_id)
        return row

    def told(self, task_id: UUID) -> list[str]:
        """Return what the audit log says of a task's effects, in order."""
        query = """
            SELECT l.action FROM cmis.automation_audit_log l JOIN cmis.automation_actions a USING (org_id, action_id)
             WHERE a.task_id = :task_id ORDER BY l.created_at, l.audit_id"""
        return [action for (action,) in self.org.world.rows(query, task_id=task_id)]

    def destination(self) -> Any:
        """Read the one destination that the org has met."""
        [row] = self.org.world.rows("SELECT * FROM cmis.destinations WHERE org_id = :org_id", org_id=self.org.id)
        return row

    def wait_until(self, task_id: UUID) -> None:
        """Move the clock to when the task runs again."""
        task = self.org.world.task(task_id)
        left = (task.run_at - self.org.world.now()) / timedelta(seconds=1)
        self.org.world.advance(seconds=max(left, 0) + 0.01)

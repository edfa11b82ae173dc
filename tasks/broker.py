"""The Celery app and its settings. Postgres is the truth; a message is only a hint that there may be work.

Reasons and measurements: docs/architecture.md (“The broker”). Never used: eta, countdown, chains, chords, results.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from celery import Celery
from kombu.entity import Exchange, Queue
from kombu.exceptions import BatchPublishError, OperationalError

from core.config import Settings, redact
from core.errors import SetupError
from models.enums import Queue as QueueName

if TYPE_CHECKING:
    from kombu.connection import Connection

SCHEMES: Final = ("redis://", "rediss://", "redis+socket://", "sentinel://", "amqp://", "amqps://", "pyamqp://")
_EXCHANGE: Final = Exchange("cmis", type="direct")


def check_broker_url(settings: Settings) -> None:
    """Raise SetupError unless BROKER_URL is set and names a transport that is supported."""
    url = settings.broker_url
    remedy = "set BROKER_URL, e.g. redis://127.0.0.1:6379/0 or amqp://user:password@host//, or use `make up`"
    if not url:
        message = "BROKER_URL is not set"
        raise SetupError(message, remedy)
    if not url.startswith(SCHEMES):
        message = f"BROKER_URL names no supported transport: {redact(url)}"
        raise SetupError(message, remedy)


def broker_errors(connection: Connection) -> tuple[type[Exception], ...]:
    """Return every error by which the transport says that the broker is out of reach, full or unwilling."""
    return (OperationalError, BatchPublishError, OSError, *connection.connection_errors, *connection.channel_errors)


def settings_for(settings: Settings) -> dict[str, Any]:
    """Return Celery's configuration for a process with these settings."""
    return {
        **_connection(settings),
        **_PUBLISHING,
        **_DELIVERY,
        **_LIMITS,
        **_observation(settings),
        "task_queues": [Queue(name.value, _EXCHANGE, routing_key=name.value) for name in QueueName],
        "worker_consumer": "worker.consumer:PatientConsumer",
        "beat_scheduler": "scheduler.beat:PostgresScheduler",
        "beat_schedule": {},
        "imports": ["tasks.rules", "tasks.workflows", "tasks.deliver", "tasks.ingest", "tasks.maintenance"],
    }


def _connection(settings: Settings) -> dict[str, Any]:
    options: dict[str, Any] = {
        "socket_timeout": 4,  # without it one half-open socket blocks the event loop for ever
        "socket_connect_timeout": 3,
        "socket_keepalive": True,
        "health_check_interval": 3,  # notices a black hole within about 8 s, and then waits twice for the socket
        "visibility_timeout": 3600,  # only for the few messages that sit in `unacked`
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 6,
        "queue_order_strategy": "round_robin",  # the others starve later queues
        "priority_steps": [0, 3, 6, 9],
        "fanout_prefix": True,
        "fanout_patterns": True,
    }
    if settings.broker_prefix:
        options["global_keyprefix"] = settings.broker_prefix
    return {
        "broker_url": settings.broker_url,
        "broker_transport_options": options,
        "broker_connection_timeout": 3,
        "broker_connection_retry_on_startup": True,
        "broker_connection_retry": True,
        "broker_connection_max_retries": None,  # the default of 100 ends the worker
        "broker_channel_error_retry": True,
        "broker_pool_limit": 16,  # 4 deadlocks Flower
        "broker_pool_acquire_timeout": 5,
        "broker_heartbeat": 10,  # AMQP only
    }


_PUBLISHING: Final = {
    "task_publish_retry": False,  # a failed publish is due again at once: that is the retry
    "task_default_queue": QueueName.RULES.value,
    "task_default_exchange": "cmis",
    "task_default_routing_key": QueueName.RULES.value,
    "task_create_missing_queues": False,  # a typo must fail, not make a queue that nobody reads
    "task_serializer": "json",
    "accept_content": ["json"],
    "result_accept_content": ["json"],
    "task_protocol": 2,
    "enable_utc": True,
    "timezone": "UTC",
}
_DELIVERY: Final = {
    "result_backend": None,
    "task_ignore_result": True,
    "task_store_errors_even_if_ignored": False,
    "task_acks_late": False,  # the lease in Postgres notices a dead worker, not the visibility timeout
    "task_reject_on_worker_lost": False,  # a poison message would come back for ever
    "worker_disable_prefetch": True,
    "worker_prefetch_multiplier": 1,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    "worker_deduplicate_successful_tasks": False,  # the claim does this
}
_LIMITS: Final = {
    "task_soft_time_limit": 300,
    "task_time_limit": 310,
    "worker_max_tasks_per_child": 1000,
    "worker_max_memory_per_child": 300_000,  # KiB
    "worker_proc_alive_timeout": 30,
    "worker_lost_wait": 10,
    "worker_soft_shutdown_timeout": 30,
    "worker_enable_soft_shutdown_on_idle": True,
}


def _observation(settings: Settings) -> dict[str, Any]:
    """Events and remote control are part of the product (Flower, inspect); CMIS_HARDENED=1 turns both off."""
    seen = not settings.hardened
    return {
        "worker_send_task_events": seen,
        "task_send_sent_event": seen,
        "worker_enable_remote_control": seen,
        "task_track_started": seen,
        "worker_disable_rate_limits": True,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
    }


app = Celery("cmis")
app.config_from_object(settings_for(Settings.load()))

"""The app for `celery -A worker …`: the worker, beat, Flower and inspect all start here."""

from __future__ import annotations

import sys

from core.config import Settings
from core.errors import SetupError
from tasks.broker import app, check_broker_url
from worker import dropping, garbage, signals

__all__ = ["app", "dropping", "signals"]

garbage.guard()
try:
    check_broker_url(Settings.load())
except SetupError as error:
    sys.exit(f"error: {error}")

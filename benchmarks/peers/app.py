"""The Celery app that every peer publishes with: the defaults, but for what would only slow it down."""

import json
import os
import sys
import time
from importlib.metadata import version

from celery import Celery
from celery.signals import beat_init

QUEUE = "peer"
TASK = "peer.noop"
DAY = 24 * 3600
"""Each entry runs daily, so that it is due once while it is watched; an interval is the cheapest schedule there is."""


def make_app(**settings):
    """Return an app on the benchmark's broker, without results and with settings of the peer's own."""
    app = Celery("peer", broker=os.environ["PEER_BROKER_URL"])
    app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, result_expires=None, **settings)
    app.task(name=TASK, ignore_result=True)(_noop)
    return app


def _noop(number):
    """Do nothing; no worker runs."""


def planned():
    """Return how many entries are wanted, and a whole second that is far enough ahead to store them before it."""
    count, lead = int(sys.argv[1]), float(sys.argv[2])
    return count, int(time.time() + lead) + 1


def tell(due, *packages):
    """Print what was stored."""
    names = ("celery", "redis", *packages)
    print(json.dumps({"due": due, "versions": {name: version(name) for name in names}}))


@beat_init.connect
def _ready(**_):
    print("peer ready", flush=True)

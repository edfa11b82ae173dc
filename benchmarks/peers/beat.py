"""Celery's own beat: the schedule stands in the configuration, its state in a file (PersistentScheduler)."""

import os
from datetime import UTC, datetime, timedelta

from celery.schedules import schedule

from benchmarks.peers.app import DAY, TASK, make_app, planned, tell

app = make_app()


def _entries(count, due):
    before = datetime.fromtimestamp(due - DAY, UTC)
    daily = schedule(timedelta(seconds=DAY), app=app)
    return {
        f"entry-{number}": {"task": TASK, "schedule": daily, "args": [number], "last_run_at": before}
        for number in range(count)
    }


def main():
    """Choose the due instant; there is nothing to store."""
    _, due = planned()
    tell(due)


if __name__ == "__main__":
    main()
else:
    app.conf.beat_schedule = _entries(int(os.environ["PEER_COUNT"]), int(os.environ["PEER_DUE"]))

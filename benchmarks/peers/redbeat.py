"""RedBeat: entries in Redis, stored with its own API."""

import os
from datetime import UTC, datetime, timedelta

from celery.schedules import schedule
from redbeat import RedBeatSchedulerEntry

from benchmarks.peers.app import DAY, TASK, make_app, planned, tell

app = make_app(redbeat_redis_url=os.environ["PEER_BROKER_URL"], redbeat_redis_options={})


def main():
    """Store the entries: each ran a day before the due instant."""
    count, due = planned()
    before = datetime.fromtimestamp(due - DAY, UTC)
    daily = schedule(timedelta(seconds=DAY), app=app)
    for number in range(count):
        RedBeatSchedulerEntry(f"entry-{number}", TASK, daily, args=[number], last_run_at=before, app=app).save()
    tell(due, "celery-redbeat")


if __name__ == "__main__":
    main()

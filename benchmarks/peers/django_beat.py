"""django-celery-beat: entries in the benchmark's PostgreSQL, in a database of their own."""

from datetime import UTC, datetime

import django

from benchmarks.peers.app import DAY, TASK, make_app, planned, tell

app = make_app()


def main():
    """Make its tables and store the entries: each ran a day before the due instant."""
    django.setup()
    from django.core.management import call_command
    from django_celery_beat.models import IntervalSchedule, PeriodicTask, PeriodicTasks

    call_command("migrate", verbosity=0)
    PeriodicTask.objects.all().delete()
    daily, _ = IntervalSchedule.objects.get_or_create(every=DAY, period=IntervalSchedule.SECONDS)
    count, due = planned()
    before = datetime.fromtimestamp(due - DAY, UTC)
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"entry-{number}", task=TASK, args=f"[{number}]", interval=daily, last_run_at=before)
        for number in range(count)
    )
    PeriodicTasks.update_changed()
    tell(due, "django-celery-beat", "django")


if __name__ == "__main__":
    main()

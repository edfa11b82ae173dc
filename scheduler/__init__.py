"""The scheduler process: a Celery beat whose schedule is Postgres."""

"""The domain: what rules, schedules and workflows do, free of Celery and HTTP."""

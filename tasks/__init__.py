"""The Celery edge: the app and its settings, the base task, the one place that publishes, one short function a task."""

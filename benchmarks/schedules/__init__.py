"""Part `schedules`: due jobs are found, recorded and published, beside RedBeat, celery beat, django-celery-beat."""

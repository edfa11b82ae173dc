"""Part `rules`: due rules are evaluated and recorded, beside bare Celery no-ops, one rule a task, and the bare SQL."""

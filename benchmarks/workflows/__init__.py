"""Part `workflows`: chains of steps that do nothing, beside Celery's chains, DBOS and Prefect."""

"""The domain, free of Celery and HTTP: services at the top, actions, the store, and pure modules at the bottom."""

"""The one tree of schema revisions (Alembic), applied by `cmis migrate`."""

"""Pushes that are open, by campaign: a later one of the same campaign waits for them."""

from migrations.ddl import run

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_INDEX)


def downgrade() -> None:
    run("DROP INDEX cmis.automation_actions_open_pushes")


# Each push asks for the open ones before it, of all that its campaign ever had.
_INDEX = """
CREATE INDEX automation_actions_open_pushes ON cmis.automation_actions (org_id, entity_id, action_id)
  WHERE channel = 'connector' AND status IN ('queued', 'running', 'unknown');
"""

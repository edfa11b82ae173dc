"""Due jobs wait for what due jobs have made, and for nothing else that their org has unfinished."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0041"
down_revision = "0040"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("ALTER TABLE cmis.tasks ADD COLUMN dispatched BOOLEAN DEFAULT false NOT NULL")
    _count("dispatched")
    run_as_engine(_recording())


def downgrade() -> None:
    _count("kind <> 'deliver'")
    run_as_engine(constant_of("0032", "_record")())
    run("ALTER TABLE cmis.tasks DROP COLUMN dispatched")


def _count(what: str) -> None:
    """Let the bounds on unfinished work count these tasks."""
    run(constant_of("0019", "_indexes")(f"{constant_of('0019', '_ALL')} AND {what}"))
    for function in (constant_of("0032", "_claim")(), constant_of("0036", "_UNFINISHED")):
        again = function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
        run_as_engine(again.replace("t.kind <> 'deliver'", f"t.{what}"))


def _recording() -> str:
    """Return the function that records a batch of due jobs; the tasks that it makes are marked."""
    function: str = constant_of("0032", "_record")()
    return function.replace(
        "priority, created_at)\n  SELECT t.", "priority, created_at, dispatched)\n  SELECT t."
    ).replace("coalesce(t.priority, 4), p_now\n", "coalesce(t.priority, 4), p_now, true\n")

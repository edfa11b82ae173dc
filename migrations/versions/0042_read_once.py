"""What many rows bring is read as it comes, what is written again has its place, and only what is due is claimed."""

import re

from migrations.ddl import constant_of, run, run_as_engine

revision = "0042"
down_revision = "0041"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(constant_of("0039", "_create")().replace(_MADE, _MADE_WITH_ROOM))
    _leave_room(_ROOM)
    run(f"DROP FUNCTION {_recorder('jsonb')}")
    run_as_engine(_recording() + _granted(_recorder("json")))
    run_as_engine(_IS_ANYTHING_DUE + _granted("cmis.is_anything_due()"))


def downgrade() -> None:
    run("DROP FUNCTION cmis.is_anything_due()")
    run(f"DROP FUNCTION {_recorder('json')}")
    run_as_engine(constant_of("0041", "_recording")() + _granted(_recorder("jsonb")))
    _leave_room(None)
    run(constant_of("0039", "_create")())


def _recorder(kind: str) -> str:
    return f"cmis.record_dispatch(timestamptz, {', '.join([kind] * 6)})"


def _granted(function: str) -> str:
    return f"""
        REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC;
        GRANT EXECUTE ON FUNCTION {function} TO cmis_scheduler;
    """


def _recording() -> str:
    """Return the function that records a batch of due jobs; it takes rows as json, as other statements do."""
    before: str = constant_of("0041", "_recording")()
    reading = before.replace("CREATE OR REPLACE FUNCTION", "CREATE FUNCTION")
    for function in ("to_recordset", "array_length"):
        reading = reading.replace(f"jsonb_{function}", f"json_{function}")
    return re.sub(r"\b(p_\w+) jsonb\b", r"\1 json", reading)


# An occurrence is written again when its run ends, a rule each time it is evaluated. With room left for it on its page no
# index hears of that.
_ROOM = 50
_MADE = "INCLUDING CONSTRAINTS)', v_name, v_parent);"
_MADE_WITH_ROOM = f"""{_MADE}
  IF v_parent = 'occurrences' THEN
    EXECUTE format('ALTER TABLE cmis.%I SET (fillfactor = {_ROOM})', v_name);
  END IF;"""


def _leave_room(percent: int | None) -> None:
    """Let what is stored from now on fill so much of a page; None = all of it."""
    setting = "RESET (fillfactor)" if percent is None else f"SET (fillfactor = {percent})"
    run(f"""
        ALTER TABLE cmis.automation_rules {setting};
        DO $$
        DECLARE v_table regclass;
        BEGIN
          FOR v_table IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'cmis.occurrences'::regclass LOOP
            EXECUTE format('ALTER TABLE %s {setting}', v_table);
          END LOOP;
        END $$;
    """)


# One look at the front of two indexes; a claim that finds nothing costs thirty times as much.
_IS_ANYTHING_DUE = """
CREATE FUNCTION cmis.is_anything_due() RETURNS boolean LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan
AS $$
DECLARE v_now timestamptz := cmis.clock();
BEGIN
  RETURN EXISTS (SELECT FROM cmis.scheduled_jobs j WHERE j.status = 'active' AND j.next_run_at <= v_now)
      OR EXISTS (SELECT FROM cmis.scheduled_jobs j WHERE j.review_at <= v_now);
END $$;
"""

"""Partitions are made one by one, and nobody waits for one of them for longer than a quarter of a second.

All months of all tables were made in one transaction: what kept one from being made kept all, and the lock on the partition
of planned times that have no month was waited for, and then held, for as long as a statement may take. And only the upkeep's
task made them, whose claim needs one. The scheduler may now, too.
"""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0039"
down_revision = "0038"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_HOLDS)
    run(_create() + _STEPS)


def downgrade() -> None:
    run(
        _before("create_partition", "make_partitions") + _before("maintain_partitions", "advance_clock") + _STEPS_BEFORE
    )


_HOLDS = """
CREATE FUNCTION cmis.holds_rows(p_parent text, p_column text, p_from text, p_to text) RETURNS boolean
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_holds boolean;
BEGIN
  EXECUTE format('SELECT EXISTS (SELECT FROM cmis.%I WHERE %I >= %L AND %I < %L)', p_parent, p_column, p_from, p_column, p_to)
    INTO v_holds;
  RETURN v_holds;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.holds_rows(text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.holds_rows(text, text, text, text) TO cmis_owner;
"""

# The present month first, then those to come, then those before. Only what is missing is made, so that nobody who may call
# it can make months as he likes. Each is to be a transaction of its own. Who makes others is waited for without
# a timeout, since no lock is held meanwhile. What the function sets ends with it, because it has a clause for that setting.
_STEPS = """
CREATE FUNCTION cmis.missing_partitions() RETURNS TABLE (relation text, month date, ahead integer)
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
  SELECT c.relname::text, m.month, a.ahead
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
   CROSS JOIN generate_series(-2, 3) a(ahead)
   CROSS JOIN LATERAL (SELECT (date_trunc('month', cmis.clock()) + make_interval(months => a.ahead))::date AS month) m
   WHERE c.relnamespace = 'cmis'::regnamespace
     AND to_regclass(format('cmis.%I', c.relname || '_' || to_char(m.month, 'YYYYMM'))) IS NULL
   ORDER BY a.ahead < 0, abs(a.ahead), c.relname
$$;

CREATE FUNCTION cmis.add_partition(p_relation text, p_month date) RETURNS boolean
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = 0
AS $$
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('cmis.make_partitions'));
  IF NOT EXISTS (SELECT FROM cmis.missing_partitions() m WHERE m.relation = p_relation AND m.month = p_month) THEN
    RETURN false;
  END IF;
  PERFORM set_config('lock_timeout', '250ms', true);
  RETURN cmis.create_partition(format('cmis.%I', p_relation)::regclass, p_month);
END $$;

CREATE OR REPLACE FUNCTION cmis.maintain_partitions() RETURNS integer LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT count(*) FILTER (WHERE cmis.add_partition(m.relation, m.month))::integer FROM cmis.missing_partitions() m $$;

REVOKE EXECUTE ON FUNCTION cmis.missing_partitions(), cmis.add_partition(text, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.missing_partitions(), cmis.add_partition(text, date) TO cmis_app, cmis_scheduler;
"""
_STEPS_BEFORE = """
DROP FUNCTION cmis.add_partition(text, date);
DROP FUNCTION cmis.missing_partitions();
DROP FUNCTION cmis.holds_rows(text, text, text, text);
"""


def _before(name: str, following: str) -> str:
    """Return the function of that name as it was, with what stands between it and the following one."""
    functions: str = constant_of("0001", "_PARTITIONS")
    begin, end = (functions.index(f"CREATE FUNCTION cmis.{one}(") for one in (name, following))
    return functions[begin:end].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")


# The parent is locked first, against other changes of it alone: nobody then waits for the default partition while this waits
# for the parent. The owner does not see the default's rows as long as security is forced on it, so the engine looks.
_UNLOCKED = "  EXECUTE format('CREATE TABLE cmis.%I (LIKE"
_LOCKED = "  EXECUTE format('LOCK TABLE ONLY cmis.%I IN SHARE UPDATE EXCLUSIVE MODE', v_parent);\n" + _UNLOCKED
_ALWAYS = "IF v_default IS NOT NULL THEN"
_WITH_ROWS = "IF v_default IS NOT NULL AND cmis.holds_rows(v_parent, v_column, v_from, v_to) THEN"


def _create() -> str:
    return _before("create_partition", "make_partitions").replace(_UNLOCKED, _LOCKED).replace(_ALWAYS, _WITH_ROWS)

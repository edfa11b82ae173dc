"""What one org has unfinished counts for no more than its share of what everybody may have."""

from migrations.ddl import constant_of, run, run_as_engine

revision = "0036"
down_revision = "0035"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run("DROP FUNCTION cmis.unfinished_tasks(integer)")
    run_as_engine(_UNFINISHED)


def downgrade() -> None:
    run("DROP FUNCTION cmis.unfinished_tasks(integer, integer)")
    later = constant_of("0019", "_unfinished")(constant_of("0019", "_COUNTED"))
    run_as_engine(f"{later}\n{_GRANTS.format(signature='integer')}")


_GRANTS = """
REVOKE EXECUTE ON FUNCTION cmis.unfinished_tasks({signature}) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.unfinished_tasks({signature}) TO cmis_scheduler;
"""

# As in 0019, but of an org no more than `p_share` count: twenty thousand tasks that one org has made by hand must not keep
# everybody's due jobs waiting. What the reserved org carries is several tenants', and counts in full. Orgs are found by
# skipping through the index, and only where it matters.
_UNFINISHED = f"""
CREATE FUNCTION cmis.unfinished_tasks(p_bound integer, p_share integer) RETURNS integer
LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_generic_plan
AS $$
DECLARE
  v_now timestamptz := cmis.clock();
  v_org uuid := '00000000-0000-0000-0000-000000000000';
  v_count integer;
BEGIN
  SELECT count(*) INTO v_count FROM (
    SELECT FROM cmis.tasks t WHERE t.state IN ('ready', 'running') AND t.kind <> 'deliver' AND t.run_at <= v_now LIMIT p_bound) x;
  IF v_count < p_bound THEN RETURN v_count; END IF;
  SELECT count(*) INTO v_count FROM (
    SELECT FROM cmis.tasks t WHERE t.org_id = v_org AND t.state IN ('ready', 'running') AND t.kind <> 'deliver'
       AND t.run_at <= v_now LIMIT p_bound) x;
  WHILE v_count < p_bound LOOP
    SELECT t.org_id INTO v_org FROM cmis.tasks t
     WHERE t.org_id > v_org AND t.state IN ('ready', 'running') AND t.kind <> 'deliver' ORDER BY t.org_id, t.run_at LIMIT 1;
    EXIT WHEN NOT FOUND;
    v_count := v_count + (SELECT count(*) FROM (
      SELECT FROM cmis.tasks t WHERE t.org_id = v_org AND t.state IN ('ready', 'running') AND t.kind <> 'deliver'
         AND t.run_at <= v_now LIMIT p_share) x);
  END LOOP;
  RETURN v_count;
END $$;
{_GRANTS.format(signature="integer, integer")}
"""

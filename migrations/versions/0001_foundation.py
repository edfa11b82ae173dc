"""Clock, ids and partitions: what every later revision uses."""

from migrations.ddl import drop_tables, run

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    run(_CLOCK)
    run(_IDS)
    run(_PARTITIONS)


def downgrade() -> None:
    run("""
        DROP FUNCTION cmis.advance_clock(interval);
        DROP FUNCTION cmis.maintain_partitions();
        DROP FUNCTION cmis.make_partitions(timestamptz);
        DROP FUNCTION cmis.create_partition(regclass, date);
        DROP FUNCTION cmis.uuid_v7(timestamptz);
        DROP FUNCTION cmis.uuid_v7_floor(timestamptz);
        DROP FUNCTION cmis.clock_is_shifted();
        DROP FUNCTION cmis.clock();
    """)
    drop_tables(["clock_offset", "broker_epoch"])


_TABLES = """
CREATE TABLE cmis.broker_epoch (
    only_row BOOLEAN DEFAULT true NOT NULL,
    epoch TEXT NOT NULL,
    lost_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT broker_epoch_pkey PRIMARY KEY (only_row),
    CONSTRAINT broker_epoch_only_row_check CHECK (only_row)
);
CREATE TABLE cmis.clock_offset (
    only_row BOOLEAN DEFAULT true NOT NULL,
    shift INTERVAL DEFAULT '00:00:00'::interval NOT NULL,
    CONSTRAINT clock_offset_pkey PRIMARY KEY (only_row),
    CONSTRAINT clock_offset_only_row_check CHECK (only_row)
);
INSERT INTO cmis.clock_offset DEFAULT VALUES;
INSERT INTO cmis.broker_epoch (epoch, lost_at) VALUES ('', '-infinity');
GRANT SELECT ON cmis.clock_offset, cmis.broker_epoch, cmis.alembic_version TO cmis_readonly;
GRANT SELECT, UPDATE ON cmis.broker_epoch TO cmis_engine;
"""

# STABLE although it reads clock_timestamp(): VOLATILE could not be an index condition, and every tick would scan all jobs.
# Domain code reads it once per transaction. SECURITY DEFINER: the offset's table belongs to the owner alone.
_CLOCK = """
CREATE FUNCTION cmis.clock() RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT clock_timestamp() + shift FROM cmis.clock_offset $$;

CREATE FUNCTION cmis.clock_is_shifted() RETURNS boolean LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT shift <> interval '0' FROM cmis.clock_offset $$;

REVOKE EXECUTE ON FUNCTION cmis.clock(), cmis.clock_is_shifted() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.clock(), cmis.clock_is_shifted() TO cmis_app, cmis_engine, cmis_scheduler, cmis_readonly;
"""

# UUIDv7 (RFC 9562): 48 bits of Unix milliseconds, then version and variant bits, then chance. Postgres 15 has none.
_IDS = """
CREATE FUNCTION cmis.uuid_v7(p_at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
  SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid())
           PLACING substring(int8send(floor(extract(epoch FROM p_at) * 1000)::bigint) FROM 3) FROM 1 FOR 6),
         52, 1), 53, 1), 'hex')::uuid
$$;

CREATE FUNCTION cmis.uuid_v7_floor(p_at timestamptz) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT (lpad(to_hex(floor(extract(epoch FROM p_at) * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;

REVOKE EXECUTE ON FUNCTION cmis.uuid_v7(timestamptz), cmis.uuid_v7_floor(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.uuid_v7(timestamptz), cmis.uuid_v7_floor(timestamptz)
  TO cmis_app, cmis_engine, cmis_readonly;
"""

# A partition inherits neither ENABLE nor FORCE nor policies, and one addressed directly ignores its parent's: each gets
# its own. It is made apart and attached, which locks the parent far less than CREATE … PARTITION OF. Rows that a default
# partition already holds for the month move into it; FORCE is lifted for that move alone, in the same transaction.
_PARTITIONS = """
CREATE FUNCTION cmis.create_partition(p_parent regclass, p_month date) RETURNS boolean LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE
  v_parent text; v_name text; v_column text; v_type regtype; v_from text; v_to text; v_default regclass;
  v_first timestamptz := date_trunc('month', p_month);
  v_org constant text := '(SELECT nullif(current_setting(''app.current_org_id'', true), '''')::uuid)';
BEGIN
  SELECT c.relname, a.attname, a.atttypid::regtype, nullif(p.partdefid, 0)::regclass
    INTO STRICT v_parent, v_column, v_type, v_default
    FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
    JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = p.partattrs[0]
   WHERE p.partrelid = p_parent;
  v_name := v_parent || '_' || to_char(v_first, 'YYYYMM');
  IF to_regclass(format('cmis.%I', v_name)) IS NOT NULL THEN RETURN false; END IF;

  IF v_type = 'uuid'::regtype THEN
    v_from := cmis.uuid_v7_floor(v_first); v_to := cmis.uuid_v7_floor(v_first + interval '1 month');
  ELSE
    v_from := v_first; v_to := v_first + interval '1 month';
  END IF;
  EXECUTE format('CREATE TABLE cmis.%I (LIKE cmis.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', v_name, v_parent);
  IF v_default IS NOT NULL THEN
    EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', v_default);
    EXECUTE format('WITH moved AS (DELETE FROM %s WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO cmis.%I SELECT * FROM moved',
                   v_default, v_column, v_from, v_column, v_to, v_name);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', v_default);
  END IF;
  EXECUTE format('ALTER TABLE cmis.%I ENABLE ROW LEVEL SECURITY', v_name);
  EXECUTE format('ALTER TABLE cmis.%I FORCE ROW LEVEL SECURITY', v_name);
  EXECUTE format('CREATE POLICY org_isolation ON cmis.%I USING (org_id = %s) WITH CHECK (org_id = %s)', v_name, v_org, v_org);
  EXECUTE format('ALTER TABLE cmis.%I ATTACH PARTITION cmis.%I FOR VALUES FROM (%L) TO (%L)', v_parent, v_name, v_from, v_to);
  RETURN true;
END $$;

CREATE FUNCTION cmis.make_partitions(p_now timestamptz) RETURNS integer LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
AS $$
DECLARE v_parent regclass; v_month date; v_made integer := 0;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('cmis.make_partitions'));
  FOR v_parent IN SELECT p.partrelid FROM pg_partitioned_table p JOIN pg_class c ON c.oid = p.partrelid
                  WHERE c.relnamespace = 'cmis'::regnamespace ORDER BY c.relname LOOP
    FOR v_month IN SELECT generate_series(date_trunc('month', p_now) - interval '2 months',
                                          date_trunc('month', p_now) + interval '3 months', interval '1 month') LOOP
      IF cmis.create_partition(v_parent, v_month) THEN v_made := v_made + 1; END IF;
    END LOOP;
  END LOOP;
  RETURN v_made;
END $$;

CREATE FUNCTION cmis.maintain_partitions() RETURNS integer LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT cmis.make_partitions(cmis.clock()) $$;

-- Tests move time for real processes; the partitions of the new time must be there before anything writes in it.
CREATE FUNCTION cmis.advance_clock(p_by interval) RETURNS timestamptz LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF p_by < interval '0' THEN RAISE EXCEPTION 'the clock only moves forward' USING ERRCODE = '22023'; END IF;
  PERFORM cmis.make_partitions(cmis.clock() + p_by);
  UPDATE cmis.clock_offset SET shift = shift + p_by;
  RETURN clock_timestamp() + (SELECT shift FROM cmis.clock_offset);
END $$;

REVOKE EXECUTE ON FUNCTION cmis.create_partition(regclass, date), cmis.make_partitions(timestamptz),
  cmis.maintain_partitions(), cmis.advance_clock(interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.maintain_partitions() TO cmis_app;
"""

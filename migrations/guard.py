"""The SQL with which revision 0014 guards campaigns, and 0027 the effects of steps, too.

What is known before is judged in engine.rules.guardrails; here the database refuses the same of whoever writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def _said_by(document: str, columns: Sequence[str]) -> str:
    """Return the condition that each column that differs has the value which a document of values gives it."""
    return " AND ".join(
        f"(z.n_{column} IS NOT DISTINCT FROM z.o_{column} OR {document} -> '{column}' = coalesce(to_jsonb(z.n_{column}), 'null'))"
        for column in columns
    )


def _changed(columns: Sequence[str], runs: Sequence[str]) -> str:
    """Return the rows that a statement changed and that nobody permitted, with what their actions and rules say.

    A join of transition tables has no index and is planned once, on however few rows: only a full join is never a nested
    loop. The others are index look-ups, and stay so whatever the statistics say.
    """
    of_action = ", ".join(f"a.{run}" for run in runs)
    old, new = (", ".join(f"z.{row}_{column}" for column in columns) for row in ("o", "n"))
    both = ", ".join(f"o.{column} AS o_{column}, n.{column} AS n_{column}" for column in columns)
    return f"""
      SELECT z.campaign_id, z.n_currency AS currency, z.o_currency AS currency_before, z.n_budget AS budget,
             z.o_budget AS budget_before, z.n_bid_amount AS bid, z.o_bid_amount AS bid_before, z.action_id,
             coalesce({of_action}, v_by_hand) AS run_id, z.action_id IS NULL AS by_hand,
             z.action_id IS NOT NULL AND (a.entity_id = z.campaign_id AND a.status IN ('succeeded', 'queued', 'running')
                                          AND {_said_by("a.after", columns)}) IS NOT TRUE AS forged,
             coalesce(r.guardrails, '{{}}') AS guardrails
        FROM (SELECT n.org_id, n.campaign_id, {both},
                     CASE WHEN n.last_action_id IS DISTINCT FROM o.last_action_id THEN n.last_action_id END AS action_id
                FROM old_rows o FULL JOIN new_rows n ON n.org_id = o.org_id AND n.campaign_id = o.campaign_id OFFSET 0) z
        LEFT JOIN LATERAL (SELECT {of_action}, a.rule_id, a.entity_id, a.status, a.after FROM cmis.automation_actions a
                            WHERE a.org_id = z.org_id AND a.action_id = z.action_id
                              AND a.action_id BETWEEN v_org.first AND v_org.last OFFSET 0) a ON true
        LEFT JOIN LATERAL (SELECT r.guardrails FROM cmis.automation_rules r
                            WHERE r.org_id = z.org_id AND r.rule_id = a.rule_id OFFSET 0) r ON true
       WHERE z.org_id = v_org.org_id AND (z.action_id IS NOT NULL OR ({old}) IS DISTINCT FROM ({new}))
         AND NOT (v_org.permitted AND EXISTS (
             SELECT FROM cmis.permits p WHERE p.org_id = z.org_id AND p.xid = pg_current_xact_id()
                AND p.entity_id = z.campaign_id AND (p.verb = 'undo' OR p.action_id = z.action_id)
                AND ({_said_by("p.columns", columns)})))"""


def _judged(columns: Sequence[str], runs: Sequence[str]) -> str:
    """Return the query that judges each changed row by itself, and gathers those that are bounded in sum."""
    return f"""SELECT min(CASE
             WHEN x.forged THEN format('last_action_id: no action %s plans this change of campaign %s', x.action_id, x.campaign_id)
             WHEN x.campaign_id = ANY (v_org.never_touch)
               THEN format('never_touch: campaign %s is on the org''s never-touch list', x.campaign_id)
             WHEN NOT x.by_hand AND abs(coalesce(x.budget, 0) - x.budget_before) > ceil(x.budget_before * x.pct) / 100
               THEN format('max_change_pct: the budget of campaign %s would change by more than %s %%', x.campaign_id, trim_scale(x.pct))
             WHEN NOT x.by_hand AND abs(coalesce(x.bid, 0) - x.bid_before) > ceil(x.bid_before * x.pct) / 100
               THEN format('max_change_pct: the bid of campaign %s would change by more than %s %%', x.campaign_id, trim_scale(x.pct))
             WHEN coalesce(x.budget, 0) < least(x.budget_before, x.floor) AND x.budget_before IS NOT NULL
               THEN format('budget_floor: the budget of campaign %s would fall below the floor of %s', x.campaign_id, trim_scale(x.floor))
             WHEN x.budget > greatest(x.budget_before, x.ceiling) AND x.ceiling IS NOT NULL
               THEN format('budget_ceiling: the budget of campaign %s would rise above the ceiling of %s', x.campaign_id, trim_scale(x.ceiling))
           END) AS said,
           jsonb_agg(to_jsonb(x)) FILTER (WHERE x.entities IS NOT NULL OR x.by_hand AND x.pct IS NOT NULL) AS of_runs,
           jsonb_agg(to_jsonb(x)) FILTER (WHERE x.net IS NOT NULL AND (x.budget, x.currency)
                                                IS DISTINCT FROM (x.budget_before, x.currency_before)) AS of_day
      INTO v_seen
      FROM (SELECT c.*, greatest(v_org.floor, cmis.bound(c.guardrails, 'budget_floor')) AS floor,
                   least(v_org.ceiling, cmis.bound(c.guardrails, 'budget_ceiling')) AS ceiling,
                   least(v_org.pct, cmis.bound(c.guardrails, 'max_change_pct')) AS pct,
                   least(v_org.net, cmis.bound(c.guardrails, 'max_daily_net_change')) AS net,
                   least(v_org.entities, cmis.bound(c.guardrails, 'max_entities_per_run')) AS entities
              FROM ({_changed(columns, runs)} OFFSET 0) c) x;"""


def guard_campaigns(columns: Sequence[str], runs: Sequence[str] = ("execution_id",)) -> str:
    """Return the function that looks at a statement's changes of campaigns, and raises CM010 at the first that may not be.

    The same bounds, and the same ways towards them, as engine.rules.guardrails.breach: docs/adr/0015. `runs`: the columns
    of an action that say in which run it was made, of which one is not NULL.
    """
    return f"""
CREATE FUNCTION cmis.guard_campaigns() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET jit = off
AS $$
DECLARE
  v_org record; v_seen record; v_said text;
  v_by_hand constant uuid := lpad(to_hex(pg_current_xact_id()::text::bigint), 32, '0')::uuid;
BEGIN
  FOR v_org IN
    -- the ids bound the partitions to look into; uuid has no min and max before Postgres 18
    SELECT g.org_id, g.timezone, g.never_touch, coalesce(cmis.bound(g.guardrails, 'budget_floor'), 10) AS floor,
           cmis.bound(g.guardrails, 'budget_ceiling') AS ceiling, cmis.bound(g.guardrails, 'max_change_pct') AS pct,
           cmis.bound(g.guardrails, 'max_daily_net_change') AS net, cmis.bound(g.guardrails, 'max_entities_per_run') AS entities,
           b.first, b.last, EXISTS (
             SELECT FROM cmis.permits p WHERE p.org_id = g.org_id AND p.xid = pg_current_xact_id()) AS permitted
      FROM (SELECT n.org_id, min(n.last_action_id::text)::uuid AS first, max(n.last_action_id::text)::uuid AS last
              FROM new_rows n GROUP BY 1) b
      JOIN cmis.orgs g ON g.org_id = b.org_id ORDER BY 1
  LOOP
    {_judged(columns, runs)}
    v_said := v_seen.said;
    IF v_said IS NULL AND v_seen.of_runs IS NOT NULL THEN
      v_said := cmis.run_breach(v_org.org_id, v_seen.of_runs);
    END IF;
    IF v_said IS NULL AND v_seen.of_day IS NOT NULL THEN
      v_said := cmis.day_breach(v_org.org_id, (cmis.clock() AT TIME ZONE v_org.timezone)::date, v_seen.of_day);
    END IF;
    IF v_said IS NOT NULL THEN
      RAISE EXCEPTION USING ERRCODE = 'CM010', MESSAGE = 'guardrail ' || v_said, CONSTRAINT = split_part(v_said, ':', 1);
    END IF;
  END LOOP;
  RETURN NULL;
END $$;
REVOKE EXECUTE ON FUNCTION cmis.guard_campaigns() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION cmis.guard_campaigns() TO cmis_owner;
"""


_ROWS = """jsonb_to_recordset(p_rows) AS r(campaign_id uuid, run_id uuid, by_hand boolean, budget numeric, budget_before numeric,
         bid numeric, bid_before numeric, currency text, currency_before text, pct numeric, net numeric, entities numeric)"""

# What is bounded in sum is remembered: the campaigns of a run, with what they had before it, and the ledger of the day, in
# which a statement's own changes are already, since triggers of rows fire first. Two writers of one sum wait for each other;
# then each sees what the other did, but not in a transaction whose snapshot is older.
SUMS = f"""
CREATE FUNCTION cmis.refuse_old_snapshots() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'guardrail isolation: what is bounded in sum is changed in READ COMMITTED transactions only'
      USING ERRCODE = 'CM010', CONSTRAINT = 'isolation';
  END IF;
END $$;

CREATE FUNCTION cmis.run_breach(p_org_id uuid, p_rows jsonb) RETURNS text LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE v_runs uuid[]; v_said text;
BEGIN
  PERFORM cmis.refuse_old_snapshots();
  PERFORM pg_advisory_xact_lock(hashtextextended('cmis.run ' || x.run_id, 0))
     FROM (SELECT DISTINCT r.run_id FROM {_ROWS} WHERE NOT r.by_hand ORDER BY 1) x;
  WITH added AS (
    INSERT INTO cmis.run_changes AS k (org_id, run_id, campaign_id, budget, bid_amount, created_at)
    SELECT p_org_id, r.run_id, r.campaign_id, r.budget_before, r.bid_before, cmis.clock() FROM {_ROWS}
    ON CONFLICT DO NOTHING RETURNING k.run_id)
  SELECT array_agg(DISTINCT a.run_id) INTO v_runs FROM added a;
  SELECT min(format('max_entities_per_run: the run would change more than %s campaigns', x.most)) INTO v_said
    FROM (SELECT r.run_id, min(r.entities) AS most FROM {_ROWS} WHERE r.run_id = ANY (v_runs) GROUP BY 1) x
   WHERE x.most < (SELECT count(*) FROM cmis.run_changes k WHERE k.org_id = p_org_id AND k.run_id = x.run_id);
  RETURN coalesce(v_said, (
    SELECT min(format('max_change_pct: campaign %s would change by more than %s %% in one transaction', r.campaign_id, trim_scale(r.pct)))
      FROM {_ROWS} JOIN cmis.run_changes k ON k.org_id = p_org_id AND k.run_id = r.run_id AND k.campaign_id = r.campaign_id
     WHERE r.by_hand
       AND (r.budget IS DISTINCT FROM r.budget_before AND abs(coalesce(r.budget, 0) - k.budget) > ceil(k.budget * r.pct) / 100
            OR r.bid IS DISTINCT FROM r.bid_before AND abs(coalesce(r.bid, 0) - k.bid_amount) > ceil(k.bid_amount * r.pct) / 100)));
END $$;

CREATE FUNCTION cmis.day_breach(p_org_id uuid, p_day date, p_rows jsonb) RETURNS text LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
  PERFORM cmis.refuse_old_snapshots();
  PERFORM cmis.lock_budget_day(p_org_id, p_day);
  RETURN (
    SELECT min(x.said) FROM (
      SELECT format('max_daily_net_change: the day''s budget changes would sum up to %s, beyond %s', trim_scale(t.net), trim_scale(d.most)) AS said
        FROM (SELECT r.currency, sum(coalesce(r.budget, 0) - coalesce(r.budget_before, 0)) AS delta, min(r.net) AS most
                FROM {_ROWS} GROUP BY 1) d
        JOIN (SELECT c.currency, sum(coalesce(l.after, 0) - coalesce(l.before, 0)) AS net
                FROM cmis.budget_ledger l JOIN cmis.campaigns c ON c.org_id = l.org_id AND c.campaign_id = l.campaign_id
               WHERE l.org_id = p_org_id AND l.day = p_day AND l.seq > 1 GROUP BY 1) t ON t.currency IS NOT DISTINCT FROM d.currency
       WHERE abs(t.net) > d.most AND abs(t.net) > abs(t.net - d.delta)
      UNION ALL
      SELECT format('max_daily_net_change: campaign %s changes its currency on a day on which its budget changed', r.campaign_id)
        FROM {_ROWS} WHERE r.currency IS DISTINCT FROM r.currency_before AND EXISTS (
             SELECT FROM cmis.budget_ledger l
              WHERE l.org_id = p_org_id AND l.campaign_id = r.campaign_id AND l.day = p_day AND l.seq > 1)) x);
END $$;
REVOKE EXECUTE ON FUNCTION cmis.refuse_old_snapshots(), cmis.run_breach(uuid, jsonb), cmis.day_breach(uuid, date, jsonb) FROM PUBLIC;
"""

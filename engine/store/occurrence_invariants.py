"""What must always be true of jobs, their planned times and what these started: `engine.store.invariants` checks it, too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from engine.store.kept import first_id, kept_from

if TYPE_CHECKING:
    from collections.abc import Mapping

CHECKS: Final[Mapping[str, str]] = {
    "no planned time is lost: each row follows the one before": """
        SELECT org_id || ' ' || job_id || ' ' || scheduled_for AS offender FROM (
          SELECT o.*, j.anchor_at, j.revision,
                 coalesce(lag(o.until) OVER (PARTITION BY o.org_id, o.job_id ORDER BY o.scheduled_for), r.until) AS before
            FROM cmis.occurrences o JOIN cmis.scheduled_jobs j USING (org_id, job_id)
            LEFT JOIN cmis.retired_occurrences r USING (org_id, job_id) WHERE o.origin = 'schedule') x
         WHERE CASE WHEN before IS NULL THEN job_revision = revision AND previous IS DISTINCT FROM anchor_at
                    ELSE previous IS DISTINCT FROM before OR before >= scheduled_for END""",
    "each run has its result, or a task that will bring it": f"""
        SELECT o.org_id || ' ' || o.job_id || ' ' || o.scheduled_for AS offender FROM cmis.occurrences o
         WHERE o.decision = 'run' AND CASE
           WHEN o.outcome IS NULL THEN NOT EXISTS (
             SELECT FROM cmis.tasks t WHERE t.task_id = o.task_id AND t.state IN ('ready', 'held', 'running')) AND NOT EXISTS (
             SELECT FROM cmis.automation_actions a
              WHERE a.org_id = o.org_id AND a.execution_id = o.execution_id AND a.status = 'queued' AND a.channel IS NULL)
             AND NOT EXISTS (
             SELECT FROM cmis.workflow_instances i
              WHERE i.org_id = o.org_id AND i.instance_id = o.instance_id AND i.status IN ('pending', 'running', 'paused'))
           WHEN o.instance_id IS NOT NULL THEN o.reason IS NULL AND o.outcome NOT IN ('lost', 'cancelled')
             AND (o.instance_id < {first_id("workflow_instances")}) IS NOT TRUE AND NOT EXISTS (
             SELECT FROM cmis.workflow_instances i
              WHERE i.org_id = o.org_id AND i.instance_id = o.instance_id AND i.finished_at IS NOT NULL)
           ELSE o.outcome <> 'cancelled' AND (o.execution_id < {first_id("automation_executions")}) IS NOT TRUE AND NOT EXISTS (
             SELECT FROM cmis.automation_executions e WHERE e.org_id = o.org_id AND e.execution_id = o.execution_id
             UNION ALL
             SELECT FROM cmis.optimizations p WHERE p.org_id = o.org_id AND p.optimization_id = o.execution_id) END""",
    "each optimisation of a job has its occurrence": f"""
        SELECT p.org_id || ' ' || p.optimization_id AS offender FROM cmis.optimizations p
         WHERE p.job_id IS NOT NULL AND (p.scheduled_for < {kept_from("occurrences")}) IS NOT TRUE
           AND NOT EXISTS (
           SELECT FROM cmis.occurrences o WHERE o.org_id = p.org_id AND o.execution_id = p.optimization_id
              AND o.job_id = p.job_id AND o.scheduled_for = p.scheduled_for
              AND o.outcome IN (p.status, 'lost'))""",
    "each instance of a job has its occurrence, which ends as it does": f"""
        SELECT i.org_id || ' ' || i.instance_id AS offender FROM cmis.workflow_instances i
         WHERE i.job_id IS NOT NULL AND i.forked_from IS NULL AND (i.scheduled_for < {kept_from("occurrences")}) IS NOT TRUE
           AND NOT EXISTS (
           SELECT FROM cmis.occurrences o WHERE o.org_id = i.org_id AND o.instance_id = i.instance_id
              AND o.job_id = i.job_id AND o.origin = i.origin AND o.scheduled_for = i.scheduled_for
              AND o.outcome IS NOT DISTINCT FROM CASE i.status WHEN 'completed' THEN 'success' WHEN 'failed' THEN 'failure'
                                                              WHEN 'cancelled' THEN 'cancelled' END)""",
    "an optimisation's counts equal its executions": """
        SELECT p.org_id || ' ' || p.optimization_id AS offender FROM cmis.optimizations p
          LEFT JOIN (SELECT org_id, context ->> 'optimization_id' AS part_of, task_id, count(*) AS n,
                            count(*) FILTER (WHERE acted_on IS NOT NULL) AS acted
                       FROM cmis.automation_executions WHERE context ? 'optimization_id' GROUP BY 1, 2, 3) e
            ON e.org_id = p.org_id AND e.part_of = p.optimization_id::text AND e.task_id = p.task_id
         WHERE coalesce((p.counts ->> 'evaluated')::bigint, 0) <> coalesce(e.n, 0)
            OR coalesce((p.counts ->> 'acted')::bigint, 0) > coalesce(e.acted, 0)""",
    "each execution of a job has its occurrence": f"""
        SELECT e.org_id || ' ' || e.execution_id AS offender FROM cmis.automation_executions e
         WHERE e.job_id IS NOT NULL AND (e.scheduled_for < {kept_from("occurrences")}) IS NOT TRUE
           AND NOT EXISTS (
           SELECT FROM cmis.occurrences o WHERE o.org_id = e.org_id AND o.execution_id = e.execution_id
              AND o.job_id = e.job_id AND o.scheduled_for = e.scheduled_for AND (o.outcome IS NULL) = EXISTS (
                SELECT FROM cmis.automation_actions a
                 WHERE a.org_id = e.org_id AND a.execution_id = e.execution_id AND a.status = 'queued'
                   AND a.channel IS NULL))""",
    "a job's cursor and counters equal its rows": """
        SELECT j.org_id || ' ' || j.job_id AS offender FROM cmis.scheduled_jobs j
          LEFT JOIN (SELECT org_id, job_id, max(last) AS last, sum(runs) AS runs, max(last_run) AS last_run FROM (
                     SELECT org_id, job_id, max(until) AS last, count(*) FILTER (WHERE decision = 'run') AS runs,
                            max(scheduled_for) FILTER (WHERE decision = 'run') AS last_run
                       FROM cmis.occurrences WHERE origin = 'schedule' GROUP BY 1, 2
                     UNION ALL
                     SELECT org_id, job_id, until, runs, last_run_for FROM cmis.retired_occurrences) k
                      GROUP BY 1, 2) o USING (org_id, job_id)
         WHERE j.last_scheduled_for IS DISTINCT FROM o.last OR j.run_count <> coalesce(o.runs, 0)
            OR j.last_run_for IS DISTINCT FROM o.last_run
            OR j.status = 'active' AND j.next_run_at <= j.last_scheduled_for""",
    "a buffered time is its job's only one": """
        SELECT coalesce(o.org_id, j.org_id) || ' ' || coalesce(o.job_id, j.job_id) AS offender
          FROM (SELECT org_id, job_id, scheduled_for FROM cmis.occurrences WHERE decision = 'buffered') o
          FULL JOIN (SELECT org_id, job_id, buffered_for FROM cmis.scheduled_jobs WHERE buffered_for IS NOT NULL) j
            ON j.org_id = o.org_id AND j.job_id = o.job_id
         WHERE o.scheduled_for IS DISTINCT FROM j.buffered_for""",
    "a job remembers each run that is open": """
        SELECT o.org_id || ' ' || o.job_id || ' ' || o.scheduled_for AS offender FROM cmis.occurrences o
          JOIN cmis.scheduled_jobs j USING (org_id, job_id)
         WHERE o.origin = 'schedule' AND o.decision = 'run' AND o.outcome IS NULL
           AND (o.scheduled_for < j.open_from OR j.open_from IS NULL)""",
    "no job runs more often than it may": """
        SELECT org_id || ' ' || job_id AS offender FROM cmis.scheduled_jobs
         WHERE status = 'active' AND (run_count > max_executions OR run_count = max_executions AND next_run_at IS NOT NULL)""",
    "no run begins over another where its job forbids it": """
        SELECT org_id || ' ' || job_id || ' ' || scheduled_for AS offender FROM (
          SELECT o.org_id, o.job_id, o.scheduled_for, o.decided_at, lag(o.decided_at) OVER w AS decided_before,
                 lag(o.outcome) OVER w AS outcome_before, lag(o.finished_at) OVER w AS finished_before, j.updated_at
            FROM cmis.occurrences o JOIN cmis.scheduled_jobs j USING (org_id, job_id)
           WHERE o.origin = 'schedule' AND o.decision = 'run' AND j.overlap IN ('skip', 'buffer_one')
          WINDOW w AS (PARTITION BY o.org_id, o.job_id ORDER BY o.scheduled_for)) x
         WHERE decided_before >= updated_at AND decided_at > decided_before
           AND (outcome_before IS NULL OR finished_before > decided_at + interval '1 s')""",
}

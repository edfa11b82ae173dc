"""Every invariant can fail: after ordinary work each holds, and each names what an administrator's SQL has broken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import psycopg

from engine.store import invariants, workflow_invariants

if TYPE_CHECKING:
    from tests.stepping import Flow
    from tests.world import Org

NOOP: Final[dict[str, Any]] = {"id": "only", "type": "action", "config": {"callable": "cmis.noop"}}
RAISE: Final = [{"type": "increase_budget", "params": {"percent": 1}}]
OTHER: Final = "(SELECT org_id FROM cmis.orgs WHERE name = 'other')"
ACTION: Final = "UPDATE cmis.automation_actions SET {}"
EXECUTION: Final = "UPDATE cmis.automation_executions SET {}"
JOB: Final = "UPDATE cmis.scheduled_jobs SET {}"
LEDGER: Final = "UPDATE cmis.budget_ledger SET {}"
OCCURRENCE: Final = "UPDATE cmis.occurrences SET {}"
RULE: Final = "UPDATE cmis.automation_rules SET {}"
RUN: Final = "UPDATE cmis.workflow_instances SET {}"
STEP: Final = "UPDATE cmis.workflow_steps SET {}"
ATTEMPT: Final = "UPDATE cmis.task_attempts SET {}"
TASK: Final = "UPDATE cmis.tasks SET {}"
AUDIT: Final = "UPDATE cmis.automation_audit_log SET {}"
OPTIMIZATION: Final = """
INSERT INTO cmis.optimizations
       (org_id, optimization_id, job_id, trigger, scheduled_for, task_id, status, counts, started_at, finished_at)
SELECT org_id, cmis.uuid_v7(created_at), job_id, 'schedule', created_at, job_id, 'success', '{"evaluated": 7}',
       created_at, created_at FROM cmis.scheduled_jobs"""
PERMIT: Final = """
INSERT INTO cmis.permits (org_id, permit_id, action_id, verb, entity_id, columns, user_id, created_at)
SELECT org_id, action_id, action_id, 'apply', entity_id, '{}', entity_id, created_at FROM cmis.automation_actions"""
PARTED: Final = """
result = jsonb_build_object('split', (SELECT jsonb_agg(p.task_id) FROM cmis.tasks p
                                       WHERE p.kind = 'evaluate_rules' AND p.task_id <> t.task_id))"""
REFERENCES: Final = "no reference crosses orgs"
GONE: Final = "DELETE FROM cmis.{}"
STRAYED: Final = (
    EXECUTION.format("rule_id = job_id WHERE job_id IS NOT NULL"),
    EXECUTION.format("job_id = rule_id"),
    ACTION.format("rule_id = action_id"),
    ACTION.format("execution_id = cmis.uuid_v7(created_at)"),
    ACTION.format("entity_id = action_id"),
    OCCURRENCE.format("job_id = org_id"),
    AUDIT.format("rule_id = audit_id WHERE rule_id IS NOT NULL"),
    RUN.format("job_id = template_id, origin = 'manual', scheduled_for = created_at"),
    EXECUTION.format(f"org_id = {OTHER}"),
    ACTION.format(f"org_id = {OTHER}"),
    RUN.format(f"org_id = {OTHER}"),
    "UPDATE cmis.rule_entity_state SET org_id = " + OTHER,
    LEDGER.format(f"org_id = {OTHER} WHERE action_id IS NOT NULL"),
    STEP.format(f"org_id = {OTHER}, child_instance_id = instance_id"),
    RUN.format("action_id = (SELECT min(action_id::text)::uuid FROM cmis.automation_actions)")
    + f"; {ACTION.format(f'org_id = {OTHER}')}",
    ATTEMPT.format(f"org_id = {OTHER}"),
    TASK.format(
        f"payload = jsonb_set(payload, '{{groups,0,org_id}}', to_jsonb({OTHER})) WHERE kind = 'evaluate_rules'"
    ),
    TASK.format(f"org_id = {OTHER} WHERE kind = 'run_workflow'"),
    TASK.format(
        f"org_id = {OTHER}, kind = 'deliver', payload = jsonb_build_object('action_ids', "
        "(SELECT jsonb_agg(action_id) FROM cmis.automation_actions))"
    ),
    TASK.format(
        f"payload = jsonb_build_object('items', jsonb_build_array(jsonb_build_object('instance_id', "
        f"(SELECT min(instance_id::text) FROM cmis.workflow_instances)))), org_id = {OTHER}, kind = 'run_workflow'"
    ),
)
BROKEN: Final = [
    *((REFERENCES, one) for one in STRAYED),
    (
        "no planned time is lost: each row follows the one before",
        OCCURRENCE.format("previous = previous - interval '1 s'"),
    ),
    ("no planned time is lost: each row follows the one before", JOB.format("anchor_at = anchor_at - interval '1 s'")),
    ("each run has its result, or a task that will bring it", GONE.format("automation_executions")),
    (
        "each run has its result, or a task that will bring it",
        OCCURRENCE.format("execution_id = NULL, instance_id = cmis.uuid_v7(decided_at) WHERE decision = 'run'"),
    ),
    ("each optimisation of a job has its occurrence", OPTIMIZATION),
    ("an optimisation's counts equal its executions", OPTIMIZATION),
    (
        "each instance of a job has its occurrence, which ends as it does",
        RUN.format("job_id = template_id, origin = 'manual', scheduled_for = created_at"),
    ),
    ("each execution of a job has its occurrence", GONE.format("occurrences")),
    ("a job's cursor and counters equal its rows", JOB.format("run_count = run_count + 1")),
    (
        "a job's cursor and counters equal its rows",
        JOB.format("last_scheduled_for = last_scheduled_for + interval '1 s'"),
    ),
    ("a job's cursor and counters equal its rows", GONE.format("occurrences")),
    ("a buffered time is its job's only one", JOB.format("buffered_for = cmis.clock(), review_at = cmis.clock()")),
    (
        "a job remembers each run that is open",
        OCCURRENCE.format("outcome = NULL, finished_at = NULL WHERE decision = 'run'")
        + f"; {JOB.format('open_from = NULL')}",
    ),
    ("no job runs more often than it may", JOB.format("max_executions = 1, run_count = 2, status = 'active'")),
    (
        "no run begins over another where its job forbids it",
        JOB.format("overlap = 'skip', updated_at = '2000-01-01'")
        + f"; {OCCURRENCE.format('outcome = NULL, finished_at = NULL, decided_at = scheduled_for')}",
    ),
    ("a queued action has a task that will apply it", ACTION.format("status = 'queued'")),
    ("a held task waits for one before it", TASK.format("state = 'held', kind = 'apply_actions', finished_at = NULL")),
    ("a task succeeds at most once, under its last fence", ATTEMPT.format("outcome = 'failed'")),
    (
        "a task succeeds at most once, under its last fence",
        ATTEMPT.format("outcome = 'failed'") + f"; {TASK.format('fence = 2')}",
    ),
    (
        "a task succeeds at most once, under its last fence",
        "INSERT INTO cmis.task_attempts SELECT (jsonb_populate_record(a, jsonb_build_object('attempt_id', "
        "cmis.uuid_v7(started_at), 'fence', 2))).* FROM cmis.task_attempts a; " + GONE.format("tasks"),
    ),
    ("a task's attempts have the fences 1 to n", ATTEMPT.format("fence = 2")),
    ("a task's attempts have the fences 1 to n", ATTEMPT.format("fence = 2") + f"; {GONE.format('tasks')}"),
    ("a task's attempts have the fences 1 to n", GONE.format("task_attempts")),
    ("an attempt is open only while its task is running", ATTEMPT.format("outcome = NULL, finished_at = NULL")),
    ("a rule's counters equal its executions", RULE.format("success_count = success_count + 1")),
    ("a rule's counters equal its executions", RULE.format("acted_today = acted_today + 1")),
    ("a rule's counters equal its executions", GONE.format("automation_executions")),
    (
        "a rule's counters equal its executions",
        "INSERT INTO cmis.retired_executions SELECT org_id, rule_id, 1, 0, 0, 0 FROM cmis.automation_rules",
    ),
    ("a rule's versions have no hole, and the newest is the rule as it is", RULE.format("version = version + 1")),
    ("an execution's rule version is kept, or older than the first that is", EXECUTION.format("rule_version = 9")),
    ("no rule acts more often a day than its limit", RULE.format("max_executions_per_day = 1")),
    ("no rule acts on an entity within its cooldown", RULE.format("cooldown_minutes = 1000")),
    ("the memory of the cooldown equals the effects", "UPDATE cmis.rule_entity_state SET last_acted_at = cmis.clock()"),
    ("the memory of the cooldown equals the effects", GONE.format("automation_actions")),
    ("an execution's status follows from its effects", EXECUTION.format("status = 'failure', skip_reason = NULL")),
    (
        "an effect beyond the guardrails has its permit, and a permit its effect",
        PERMIT,
    ),
    ("a budget's chain has no hole, and ends at the budget", LEDGER.format("before = 7 WHERE seq > 1")),
    ("a budget's chain has no hole, and ends at the budget", GONE.format("budget_ledger WHERE seq = 2")),
    ("a budget change in an action's name is that action's", LEDGER.format("action_id = campaign_id")),
    ("an applied change of a budget is in its chain, once", LEDGER.format("action_id = NULL")),
    (
        "no event triggers a rule twice",
        EXECUTION.format("""trigger = 'event', context = '{"event_id": "one"}' WHERE job_id IS NULL"""),
    ),
    (
        "no event starts a workflow twice, and none is started of another's event",
        RUN.format("trigger_type = 'event', event_id = template_id"),
    ),
    (
        "each execution has exactly one rule_executed",
        GONE.format("automation_audit_log WHERE action = 'rule_executed'"),
    ),
    ("each execution has exactly one rule_executed", GONE.format("automation_executions")),
    (
        "each applied effect has exactly one action_taken",
        GONE.format("automation_audit_log WHERE action = 'action_taken'"),
    ),
    ("each applied effect has exactly one action_taken", GONE.format("automation_actions")),
    (
        "each decision about an effect is in the audit log, once",
        ACTION.format("decided_at = created_at, decided_by = entity_id"),
    ),
    (
        "each decision about an effect is in the audit log, once",
        AUDIT.format("action = 'action_undone' WHERE action = 'action_taken'"),
    ),
    *(
        (
            "no record in the audit log lacks what it tells of",
            AUDIT.format(f"entity_id = audit_id WHERE entity_type = '{noun}'"),
        )
        for noun in ("rule", "job", "campaign")
    ),
    ("a task that its crashes used up is in the audit log", TASK.format("state = 'dead', finished_at = created_at")),
    (
        "tasks that take a chunk's place carry exactly its evaluations",
        TASK.format(
            "state = 'cancelled', result = jsonb_build_object('split', jsonb_build_array(task_id)), "
            "payload = jsonb_set(payload, '{groups,1}', payload #> '{groups,0}') WHERE kind = 'evaluate_rules'"
        )
        + "; UPDATE cmis.tasks t SET "
        + PARTED,
    ),
    (
        "of evaluations only one that is alone in its task dies with it",
        TASK.format(
            """state = 'dead', error = '{"code": "LOST"}', """
            "payload = jsonb_set(payload, '{groups,1}', payload #> '{groups,0}') WHERE kind = 'evaluate_rules'"
        ),
    ),
    ("a delivery that is being called has a claim", ACTION.format("status = 'running'")),
    ("an open delivery is in its task's parcel", ACTION.format("status = 'queued', channel = 'webhook'")),
    ("each key is one effect's", ACTION.format("idempotency_key = 'one'")),
    (
        "how a delivery ended is in the audit log, and that it was in doubt, too",
        ACTION.format("status = 'unknown', channel = 'webhook'"),
    ),
    (
        "a step has one effect of its own",
        ACTION.format("execution_id = NULL, rule_id = NULL, instance_id = entity_id, step_id = 'only'"),
    ),
    (
        "a step that waits for its effect waits for one that is open, or is about to be told",
        STEP.format("status = 'waiting', waits_for = 'effect', finished_at = NULL"),
    ),
    (
        "a step that was an action and is done has done what its effect says",
        ACTION.format(
            "execution_id = NULL, rule_id = NULL, status = 'failed', step_id = 'only', "
            "instance_id = (SELECT min(instance_id::text)::uuid FROM cmis.workflow_instances)"
        ),
    ),
    ("an instance that an action started is that action's", RUN.format("action_id = template_id")),
]


def work(flow: Flow) -> None:
    """Do a little of everything: two executions that act, a job with two runs, two runs of a workflow, another org."""
    org: Org = flow.org
    org.campaign()
    rule_id = org.rule(actions=RAISE)
    org.evaluate(rule_id)
    org.evaluate(rule_id)
    job = org.hourly(org.rule(actions=RAISE), hours_due=1)
    for _ in range(2):
        flow.world.dispatch()
        flow.evaluate()
        flow.world.advance(hours=1)
    assert flow.world.one("SELECT run_count FROM cmis.scheduled_jobs WHERE job_id = :id", id=job) == 2
    template = flow.publish(NOOP)
    for _ in range(2):
        flow.start(template)
    flow.run()
    flow.world.org("other")


def offended(connection: psycopg.Connection[Any], names: list[str]) -> set[str]:
    """Return those of the checks that find something."""
    queries = {**invariants.CHECKS, **invariants.DRAINED}
    return {name for name in names if connection.execute(queries[name]).fetchall()}


def seen(connection: psycopg.Connection[Any], name: str, statements: str) -> bool:
    """Say whether a check finds what these statements break, which is then undone."""
    with connection.transaction(force_rollback=True):
        for statement in statements.split("; "):
            assert connection.execute(statement).rowcount, statement
        return bool(offended(connection, [name]))


def test_every_invariant_holds_after_work_and_finds_what_breaks_it(flow: Flow) -> None:
    work(flow)
    with psycopg.connect(flow.world.site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        assert offended(connection, [*invariants.CHECKS]) == set()
        assert {name for name, _ in BROKEN} == invariants.CHECKS.keys() - workflow_invariants.CHECKS.keys()
        unseen = [one for one in BROKEN if not seen(connection, *one)]
        assert unseen == []
        connection.rollback()


def test_what_is_missing_for_its_age_is_no_offender_and_what_is_missing_for_no_reason_is(flow: Flow) -> None:
    work(flow)
    lost = ["each execution has exactly one rule_executed", "each run has its result, or a task that will bring it"]
    with psycopg.connect(flow.world.site.urls.migration) as connection:
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute(GONE.format("automation_executions"))
        for kept_from, broken in (("'1970-01-01'", True), ("'2999-01-01'", False), ("NULL", True)):
            with connection.transaction(force_rollback=True):
                connection.execute(f"DELETE FROM cmis.retained WHERE {kept_from} IS NULL")
                connection.execute(f"UPDATE cmis.retained SET kept_from = {kept_from}")
                assert offended(connection, lost) == (set(lost) if broken else set()), kept_from
        connection.rollback()

"""Effects outside the database: deliveries, what they wait for, secrets, connectors, events, read notifications."""

from migrations.ddl import constant_of, drop_tables, protect, run, run_as_engine

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run(_TABLES)
    protect("destinations", app="SELECT, INSERT, UPDATE")
    protect("token_buckets", app="SELECT, INSERT, UPDATE")
    protect("secrets", app="SELECT, INSERT, UPDATE", engine="SELECT")
    protect("connectors", app="SELECT, INSERT, UPDATE")
    protect("automation_events", app="SELECT, INSERT, UPDATE")
    run(_ACTIONS)
    run(_kinds("'evaluate_rules', 'apply_actions', 'deliver', 'maintain'"))
    run(_RULES)
    _rule_columns(["event_type"])
    run_as_engine(_record_version(_definition()))
    run(_NOTIFICATIONS)
    run(constant_of("0013", "_audit_actions")(_audited_now()))
    _watch()


def downgrade() -> None:
    drop_tables(["automation_events", "connectors", "secrets", "token_buckets", "destinations"])
    run(constant_of("0013", "_audit_actions")(_audited_before()))
    run(_NOTIFICATIONS_BACK)
    run_as_engine(_record_version(constant_of("0013", "_DEFINITION")))
    _rule_columns([])
    run(_RULES_BACK)
    run(_kinds("'evaluate_rules', 'apply_actions', 'maintain'"))
    run(_ACTIONS_BACK)


def _kinds(allowed: str) -> str:
    return f"""
        ALTER TABLE cmis.tasks DROP CONSTRAINT tasks_kind_check;
        ALTER TABLE cmis.tasks ADD CONSTRAINT tasks_kind_check CHECK (kind IN ({allowed}));
    """


# A destination is a server as one org knows it: another org's trouble with it is another row. A bucket is the org's own or
# that of one of its accounts; its rate is what was set for it, NULL = the deployment's default.
_TABLES = """
CREATE TABLE cmis.destinations (
    org_id UUID NOT NULL,
    destination TEXT NOT NULL,
    state TEXT DEFAULT 'closed' NOT NULL,
    failures INTEGER DEFAULT 0 NOT NULL,
    openings INTEGER DEFAULT 0 NOT NULL,
    not_before TIMESTAMP WITH TIME ZONE,
    in_flight JSONB DEFAULT '{}'::jsonb NOT NULL,
    last_success_at TIMESTAMP WITH TIME ZONE,
    last_failure_at TIMESTAMP WITH TIME ZONE,
    last_error TEXT,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT destinations_pkey PRIMARY KEY (org_id, destination),
    CONSTRAINT destinations_state_check CHECK (state IN ('closed', 'open', 'half_open')),
    CONSTRAINT destinations_not_before_check CHECK (state <> 'open' OR not_before IS NOT NULL),
    CONSTRAINT destinations_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE TABLE cmis.token_buckets (
    org_id UUID NOT NULL,
    bucket TEXT NOT NULL,
    rate_per_minute INTEGER,
    burst INTEGER,
    tokens DOUBLE PRECISION,
    refilled_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT token_buckets_pkey PRIMARY KEY (org_id, bucket),
    CONSTRAINT token_buckets_rate_per_minute_check CHECK (rate_per_minute > 0),
    CONSTRAINT token_buckets_burst_check CHECK (burst > 0),
    CONSTRAINT token_buckets_refilled_at_check CHECK ((tokens IS NULL) = (refilled_at IS NULL)),
    CONSTRAINT token_buckets_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE TABLE cmis.secrets (
    org_id UUID NOT NULL,
    name TEXT NOT NULL,
    secret_id UUID NOT NULL,
    key_id TEXT NOT NULL,
    nonce BYTEA,
    ciphertext BYTEA,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    deleted_at TIMESTAMP WITH TIME ZONE,
    CONSTRAINT secrets_pkey PRIMARY KEY (org_id, name),
    CONSTRAINT secrets_name_check CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    CONSTRAINT secrets_nonce_check CHECK (octet_length(nonce) = 12),
    CONSTRAINT secrets_deleted_at_check CHECK ((deleted_at IS NULL) = (ciphertext IS NOT NULL) AND (nonce IS NULL) = (ciphertext IS NULL)),
    CONSTRAINT secrets_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE TABLE cmis.connectors (
    org_id UUID NOT NULL,
    connector_id UUID NOT NULL,
    name TEXT NOT NULL,
    platform TEXT,
    url TEXT NOT NULL,
    signing_secret TEXT NOT NULL,
    verifies BOOLEAN DEFAULT false NOT NULL,
    rate_per_minute INTEGER,
    burst INTEGER,
    status TEXT DEFAULT 'active' NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    updated_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT connectors_pkey PRIMARY KEY (org_id, connector_id),
    CONSTRAINT connectors_org_id_name_key UNIQUE (org_id, name),
    CONSTRAINT connectors_status_check CHECK (status IN ('active', 'paused', 'archived')),
    CONSTRAINT connectors_name_check CHECK (length(name) BETWEEN 1 AND 200),
    CONSTRAINT connectors_rate_per_minute_check CHECK (rate_per_minute > 0),
    CONSTRAINT connectors_burst_check CHECK (burst > 0),
    CONSTRAINT connectors_org_id_fkey FOREIGN KEY(org_id) REFERENCES cmis.orgs (org_id)
);
CREATE TABLE cmis.automation_events (
    org_id UUID NOT NULL,
    event_id UUID NOT NULL,
    type TEXT NOT NULL,
    payload JSONB NOT NULL,
    source TEXT,
    idempotency_key TEXT NOT NULL,
    triggered INTEGER DEFAULT 0 NOT NULL,
    occurred_at TIMESTAMP WITH TIME ZONE NOT NULL,
    created_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT automation_events_pkey PRIMARY KEY (org_id, event_id),
    CONSTRAINT automation_events_org_id_idempotency_key_key UNIQUE (org_id, idempotency_key),
    CONSTRAINT automation_events_type_check CHECK (length(type) BETWEEN 1 AND 100),
    CONSTRAINT automation_events_payload_check CHECK (jsonb_typeof(payload) = 'object'),
    CONSTRAINT automation_events_idempotency_key_check CHECK (length(idempotency_key) BETWEEN 1 AND 200)
);
CREATE INDEX automation_events_org_id_type_event_id_idx ON cmis.automation_events (org_id, type, event_id);
"""

# An effect that a person's change has outside (a push to a connector) belongs to no execution.
_ACTIONS = """
ALTER TABLE cmis.automation_actions
  ALTER COLUMN execution_id DROP NOT NULL,
  ALTER COLUMN rule_id DROP NOT NULL,
  ADD COLUMN channel TEXT,
  ADD COLUMN attempts INTEGER DEFAULT 0 NOT NULL,
  ADD COLUMN waits_for TEXT,
  ADD COLUMN next_attempt_at TIMESTAMP WITH TIME ZONE,
  ADD COLUMN response JSONB,
  ADD COLUMN retried_at TIMESTAMP WITH TIME ZONE,
  ADD CONSTRAINT automation_actions_execution_id_check CHECK ((execution_id IS NULL) = (rule_id IS NULL)),
  ADD CONSTRAINT automation_actions_channel_check CHECK (channel IN ('email', 'webhook', 'slack', 'connector')),
  ADD CONSTRAINT automation_actions_waits_for_check CHECK (waits_for IS NULL OR status = 'queued' AND channel IS NOT NULL);
"""
_ACTIONS_BACK = """
ALTER TABLE cmis.automation_actions
  DROP COLUMN channel, DROP COLUMN attempts, DROP COLUMN waits_for, DROP COLUMN next_attempt_at, DROP COLUMN response,
  DROP COLUMN retried_at,
  DROP CONSTRAINT automation_actions_execution_id_check,
  ALTER COLUMN execution_id SET NOT NULL,
  ALTER COLUMN rule_id SET NOT NULL;
"""

# An event rule is about the campaign that its event names, about its own, or, with entity type `event`, about the event.
_RULES = """
ALTER TABLE cmis.automation_rules
  ADD COLUMN event_type TEXT,
  DROP CONSTRAINT automation_rules_entity_type_check,
  ADD CONSTRAINT automation_rules_entity_type_check CHECK (entity_type IN ('campaign', 'event')),
  ADD CONSTRAINT automation_rules_event_type_check CHECK ((trigger_type = 'event') = (event_type IS NOT NULL)),
  ADD CONSTRAINT automation_rules_event_entity_check CHECK (entity_type <> 'event' OR trigger_type = 'event' AND entity_id IS NULL);
CREATE INDEX automation_rules_org_id_event_type_idx ON cmis.automation_rules (org_id, event_type) WHERE event_type IS NOT NULL;
"""
_RULES_BACK = """
ALTER TABLE cmis.automation_rules
  DROP COLUMN event_type,
  DROP CONSTRAINT automation_rules_event_entity_check,
  DROP CONSTRAINT automation_rules_entity_type_check,
  ADD CONSTRAINT automation_rules_entity_type_check CHECK (entity_type IN ('campaign'));
"""

_NOTIFICATIONS = """
ALTER TABLE cmis.notifications ADD COLUMN position INTEGER, ADD COLUMN read_by UUID,
  ADD CONSTRAINT notifications_read_at_check CHECK ((read_at IS NULL) = (read_by IS NULL));
CREATE INDEX notifications_unread ON cmis.notifications (org_id, created_at) WHERE read_at IS NULL;
"""
_NOTIFICATIONS_BACK = """
DROP INDEX cmis.notifications_unread;
ALTER TABLE cmis.notifications DROP COLUMN position, DROP COLUMN read_by;
"""

_AUDITED_TOO = [
    "action_failed",
    "action_unknown",
    "action_resolved",
    "action_retried",
    "secret_created",
    "secret_updated",
    "connector_created",
    "connector_updated",
    "destination_opened",
    "destination_closed",
]


def _audited_before() -> list[str]:
    before, after = constant_of("0013", "_ACTIONS_BEFORE"), constant_of("0013", "_ACTIONS_TOO")
    place = before.index("action_taken") + 1
    return [*before[:place], *after, *before[place:]]


def _audited_now() -> list[str]:
    before = _audited_before()
    place = before.index("action_discarded") + 1
    return [*before[:place], *_AUDITED_TOO, *before[place:]]


# What a secret is, is nowhere but in its row: the audit tells its name, its key and when it changed.
_TRIGGERS = {
    "secrets": ("secret", "secret_id", ["name", "key_id", "updated_at", "deleted_at"]),
    "connectors": (
        "connector",
        "connector_id",
        ["name", "platform", "url", "signing_secret", "verifies", "rate_per_minute", "burst", "status"],
    ),
}


def _watch() -> None:
    for table, (noun, key, columns) in _TRIGGERS.items():
        run(constant_of("0006", "_triggers")(table, noun, key, columns))


def _rule_columns(columns: list[str]) -> None:
    """Make the triggers of rules anew, for their configuration with these columns besides the first ones."""
    earlier = constant_of("0013", "_RULE_COLUMNS_TOO")
    constant_of("0013", "_audit")("automation_rules", [*earlier, *columns])
    versioned = constant_of("0013", "_versioned")([*earlier, *columns])
    run(constant_of("0013", "_drop_version_trigger")() + constant_of("0013", "_version_trigger")(versioned))


def _record_version(definition: str) -> str:
    before = constant_of("0013", "_DEFINITION")
    function: str = constant_of("0013", "_RECORD_VERSION")
    return function.replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION").replace(before, definition)


def _definition() -> str:
    before: str = constant_of("0013", "_DEFINITION")
    return before.replace("'conditions', r.conditions", "'event_type', r.event_type, 'conditions', r.conditions")

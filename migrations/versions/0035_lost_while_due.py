"""What a broker has lost is published again at once, also what was about to be, because of its age."""

from migrations.ddl import constant_of, run_as_engine

revision = "0035"
down_revision = "0034"
branch_labels = None
depends_on = None


def upgrade() -> None:
    run_as_engine(_requeue())


def downgrade() -> None:
    run_as_engine(_requeue_before())


_DUE_LATER = "t.state = 'ready' AND t.publish_at > v_now AND t.run_at <= v_now"


def _requeue_before() -> str:
    counted: str = constant_of("0033", "_COUNTED")
    return counted[counted.index("CREATE OR REPLACE FUNCTION cmis.requeue_lost") :]


# A task whose message is due again, and that has no room in its queue yet, was left to that message. But where a queue is
# about as long as what was published into it, that is put off for up to two minutes, since it seems to wait in the broker.
def _requeue() -> str:
    before = _requeue_before()
    if _DUE_LATER not in before:
        message = "cmis.requeue_lost is not what it was in revision 0033"
        raise RuntimeError(message)
    return before.replace(_DUE_LATER, "t.state = 'ready' AND t.run_at <= v_now")

"""The examples of docs/examples/workflows on real schedulers, workers and deliverers, with a clock that is moved."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import pytest

from dev.fleet import fleet
from dev.launch import wait_until
from engine import emit, invariants
from engine.callables.registry import CALLABLES
from engine.control_workflows.approve import approve
from engine.control_workflows.begin import begin
from engine.control_workflows.steering import Hand
from engine.define import create_rule
from engine.define_jobs import create_job
from engine.define_workflows import publish
from tests.posting import SECRET_KEYS, SIGNING, Desk
from tests.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from uuid import UUID

    from dev.provider import Servers
    from tests.receiver.web import Receiver
    from tests.world import Org

EXAMPLES = Path(__file__).parents[2] / "docs" / "examples" / "workflows"
SECONDS = 60.0


@dataclass(frozen=True)
class Office:
    """An org with its workflows, and the processes that run them."""

    world: World
    org: Org

    @property
    def hand(self) -> Hand:
        """The admin's hand; messages are left to the schedulers, as the command line does."""
        return Hand(self.world.app, self.org.context)

    def publish(self, *names: str) -> None:
        """Publish examples."""
        for name in names:
            publish(self.world.app, self.org.context, json.loads((EXAMPLES / f"{name}.json").read_text()), CALLABLES)

    def begin(self, workflow: str, context: Mapping[str, Any]) -> UUID:
        """Start a run."""
        return begin(self.hand, workflow, context).instance_id

    def tell(self, event_type: str, **payload: Any) -> Any:
        """Tell of an event."""
        return emit.emit(self.world.app, self.org.context, emit.read(event_type, payload), wake=True)

    def rows(self, query: str, **values: Any) -> Sequence[Any]:
        """Read of this org, `:org`."""
        return self.world.rows(query, org=self.org.id, **values)

    def instances(self, workflow: str) -> Sequence[Any]:
        """Return the runs of a workflow, the first one first."""
        query = """
            SELECT i.* FROM cmis.workflow_instances i JOIN cmis.workflow_templates t USING (org_id, template_id)
             WHERE i.org_id = :org AND t.name = :name ORDER BY i.created_at, i.instance_id
        """
        return self.rows(query, name=workflow)

    def steps(self, instance_id: UUID) -> dict[str, Any]:
        """Return the steps of a run by id."""
        query = "SELECT * FROM cmis.workflow_steps WHERE instance_id = :id"
        return {row.step_id: row for row in self.world.rows(query, id=instance_id)}

    def statuses(self, instance_id: UUID) -> dict[str, str]:
        """Return what is become of each step."""
        return {step_id: row.status for step_id, row in self.steps(instance_id).items()}

    def wait(self, instance_id: UUID, **wanted: str) -> None:
        """Wait until the run (`instance`) and steps of it have these statuses."""

        def there() -> bool:
            found = self.statuses(instance_id) | {"instance": self.status(instance_id)}
            return all(found[name] == status for name, status in wanted.items())

        assert wait_until(there, SECONDS), (wanted, self.status(instance_id), self.steps(instance_id))

    def status(self, instance_id: UUID) -> str:
        """Return a run's status."""
        query = "SELECT status FROM cmis.workflow_instances WHERE instance_id = :id"
        return str(self.world.one(query, id=instance_id))

    def done(self, instance_id: UUID) -> dict[str, str]:
        """Wait for a run to complete, every step of it resolved; returns what became of each."""
        self.wait(instance_id, instance="completed")
        found = self.statuses(instance_id)
        assert set(found.values()) <= {"completed", "skipped", "cancelled", "failed"}
        return found

    def answer(self, instance_id: UUID, step_id: str, *, approved: bool = True) -> None:
        """Answer an approval once it is asked for."""
        self.wait(instance_id, **{step_id: "waiting"})
        approve(self.hand, instance_id, step_id, approved=approved)

    def told(self) -> list[str]:
        """Return the titles of the notifications."""
        query = "SELECT title FROM cmis.notifications WHERE org_id = :org ORDER BY created_at"
        return [title for (title,) in self.rows(query)]


@pytest.fixture(scope="module")
def running(server: Servers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Run one of each process for all that follow; each has an org of its own, and finds the clock where it is."""
    environ = {"CMIS_EGRESS_ALLOW": "127.0.0.1", "CMIS_SECRET_KEYS": SECRET_KEYS}
    with server.clone() as site:
        world = World.open(site)
        try:
            with fleet(1, 1, site.full_env() | environ, tmp_path_factory.mktemp("logs"), deliveries=1):
                yield world
        finally:
            world.close()


@pytest.fixture
def office(running: World) -> Iterator[Office]:
    org = running.org(f"Acme {uuid4()}", "Europe/Berlin")
    Desk(org).keep("signing", SIGNING)
    yield Office(running, org)
    broken = {one.name: one.offenders for one in invariants.check(running.reader, drained=False) if one.offenders}
    assert broken == {}


def payloads(receiver: Receiver, path: str) -> list[dict[str, Any]]:
    """Return what the webhooks to a path carried, each key once."""
    by_key = {request.key: json.loads(request.body)["data"]["payload"] for request in receiver.requests(path)}
    return list(by_key.values())


def test_daily_content_is_published_reviewed_or_dropped(office: Office, receiver: Receiver) -> None:
    office.publish("daily-content")
    posts = f"{receiver.url}/posts"
    good, fair, refused, poor, unknown = [
        office.begin("Daily content", {"text": text, "quality": quality, "publisher": posts})
        for text, quality in (("good", 0.9), ("fair", 0.6), ("refused", 0.6), ("poor", 0.2), ("unknown", None))
    ]
    office.answer(fair, "review")
    office.answer(refused, "review", approved=False)
    office.wait(unknown, review="waiting")
    office.world.advance(hours=9)

    assert office.done(good)["publish"] == "completed"
    assert office.done(fair) == {
        "draft": "completed",
        "quality": "completed",
        "review": "completed",
        "publish": "completed",
        "drop": "skipped",
    }
    assert office.done(refused)["publish"] == "skipped"
    assert office.done(poor)["review"] == "skipped"
    assert office.done(unknown)["drop"] == "completed"  # nobody answered within eight hours
    assert sorted(one["text"] for one in payloads(receiver, "/posts")) == ["fair", "good"]
    assert office.steps(good)["quality"].branch_taken == "case:0"
    assert office.told().count("No post today") == 3


def test_a_crisis_stops_a_campaign_until_it_is_over_or_somebody_is_told(office: Office, receiver: Receiver) -> None:
    office.publish("crisis")
    campaign_id = office.org.campaign({"spend": 1})
    receiver.script("/alarm", "fails/500", "fails/500")
    named = ("campaign_id", "about", "alarm")
    context = {name: f"{{{{ event.payload.{name} }}}}" for name in named}
    create_rule(
        office.world.app,
        office.org.context,
        {
            "name": "Crisis desk",
            "status": "active",
            "trigger_type": "event",
            "event_type": "crisis.began",
            "entity_type": "event",
            "cooldown_minutes": 0,
            "conditions": [{"field": "severity", "operator": ">=", "value": 8}],
            "actions": [{"type": "start_workflow", "params": {"template": "Crisis", "context": context}}],
        },
    )
    told = {"campaign_id": str(campaign_id), "alarm": f"{receiver.url}/alarm"}
    office.tell("crisis.began", severity=2, about="small", **told)
    office.tell("crisis.began", severity=9, about="fire", **told)
    assert wait_until(lambda: len(office.instances("Crisis")) == 1, SECONDS)
    first = office.instances("Crisis")[0].instance_id
    office.wait(first, stop="completed", until_over="waiting")
    assert office.org.campaign_row(campaign_id).status == "paused"
    # tried again by a row, not by a message: the first two answers were 500
    assert wait_until(lambda: _hurry(office) and office.statuses(first)["tell"] == "completed", SECONDS)
    office.tell("crisis.over", about="another")
    office.tell("crisis.over", about="fire")
    assert office.done(first)["escalate"] == "skipped"
    assert office.org.campaign_row(campaign_id).status == "active"
    assert [one["alarm"] for one in payloads(receiver, "/alarm")] == ["fire"]
    assert len(receiver.requests("/alarm")) == 3

    office.tell("crisis.began", severity=10, about="flood", **told)
    assert wait_until(lambda: len(office.instances("Crisis")) == 2, SECONDS)
    second = office.instances("Crisis")[1].instance_id
    office.wait(second, tell="completed", until_over="waiting")
    office.world.advance(days=1, minutes=1)
    assert office.done(second)["go_on"] == "skipped"
    assert "The crisis goes on" in office.told()
    assert office.org.campaign_row(campaign_id).status == "paused"


def _hurry(office: Office) -> bool:
    """Let the time pass that the next attempt of a delivery waits for."""
    office.world.advance(seconds=5)
    return True


def test_an_influencer_campaign_of_14_steps_with_two_approvals(office: Office, receiver: Receiver) -> None:
    office.publish("influencer")
    campaign_id = office.org.campaign({"spend": 1}, status="paused")
    context = {"fee": 500, "campaign": str(campaign_id), "desk": f"{receiver.url}/desk"}
    ada, bob, cyd = [
        office.begin("Influencer campaign", context | {"influencer": name}) for name in ("Ada", "Bob", "Cyd")
    ]
    office.answer(bob, "contract", approved=False)
    office.answer(cyd, "contract")
    office.answer(ada, "contract")
    office.wait(ada, answer="waiting")
    office.wait(cyd, answer="waiting")
    office.tell("influencer.accepted", name="Ada")
    office.answer(ada, "content")
    office.wait(ada, run="waiting")
    assert office.org.campaign_row(campaign_id).status == "active"
    office.world.advance(days=8)
    assert office.done(cyd)["declined"] == "completed"  # no answer within a week
    assert office.status(ada) == "running"
    office.world.advance(days=7)

    assert office.done(ada) == dict.fromkeys(office.statuses(ada), "completed") | {"declined": "skipped"}
    assert office.done(bob)["invite"] == "skipped"
    row = next(one for one in office.instances("Influencer campaign") if one.instance_id == ada)
    assert (row.steps_total, row.steps_completed, row.steps_skipped) == (14, 13, 1)
    assert office.org.campaign_row(campaign_id).status == "paused"
    assert office.org.campaign_row(campaign_id).tags == ["influencer"]
    sent = payloads(receiver, "/desk")
    assert {"invite": "Ada"} in sent
    assert {"send_product_to": "Ada"} in sent
    assert {"send_product_to": "Cyd"} not in sent


def test_a_job_posts_the_report_on_mondays_at_nine(office: Office, receiver: Receiver) -> None:
    office.publish("monday-report")
    for name, spend in (("with figures", 120), ("without", 0)):
        document = {
            "name": name,
            "target_type": "workflow",
            "workflow": "Monday report",
            "schedule_type": "cron",
            "cron_expression": "0 9 * * 1",
            "timezone": "Europe/Berlin",
            "misfire": "once",
            "execution_context": {"spend": spend, "channel": f"{receiver.url}/report"},
        }
        create_job(office.world.app, office.org.context, document)
    for week in (1, 2):
        office.world.advance(seconds=(_next_monday(office.world.now()) - office.world.now()).total_seconds() + 1)
        assert wait_until(partial(_started, office, 2 * week), SECONDS)
        for row in office.instances("Monday report"):  # a week on it would be skipped for a run that is not over
            office.done(row.instance_id)
    for row in office.instances("Monday report"):
        local = row.scheduled_for.astimezone(ZoneInfo("Europe/Berlin"))
        assert (local.weekday(), local.hour, local.minute) == (0, 9, 0)
        assert row.trigger_type == "scheduled"
    assert payloads(receiver, "/report") == [{"spend": 120}] * 2
    assert office.told() == ["No report"] * 2
    outcomes = """
        SELECT outcome, count(*) FROM cmis.occurrences WHERE org_id = :org AND decision = 'run' GROUP BY 1
    """
    assert wait_until(lambda: [tuple(row) for row in office.rows(outcomes)] == [("success", 4)], SECONDS)


def _started(office: Office, count: int) -> bool:
    return len(office.instances("Monday report")) == count


def _next_monday(now: datetime) -> datetime:
    local = now.astimezone(ZoneInfo("Europe/Berlin"))
    at_nine = local.replace(hour=9, minute=0, second=0, microsecond=0, tzinfo=None)
    days = (7 - local.weekday()) % 7 or (0 if local.replace(tzinfo=None) < at_nine else 7)
    return (at_nine + timedelta(days=days)).replace(tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def test_leads_are_nurtured_for_two_and_three_days(office: Office, receiver: Receiver) -> None:
    office.publish("lead-nurture")
    mailer = f"{receiver.url}/mail"
    leads = [f"lead-{number}" for number in range(12)]
    for lead in leads:
        emitted = office.tell("lead.created", lead={"id": lead, "score": 60}, mailer=mailer)
        assert emitted.started == 1
    assert office.tell("lead.created", lead={"id": "cold", "score": 10}, mailer=mailer).started == 0
    runs = {
        row.context_data["event"]["payload"]["lead"]["id"]: row.instance_id for row in office.instances("Lead nurture")
    }
    assert sorted(runs) == sorted(leads)
    for instance_id in runs.values():
        office.wait(instance_id, two_days="waiting")
    tasks = "SELECT FROM cmis.tasks WHERE org_id = :org AND kind = 'run_workflow' AND state = 'ready'"
    assert len(office.rows(tasks)) == len(leads)  # what waits costs a row
    office.world.advance(days=2, minutes=1)
    for instance_id in runs.values():
        office.wait(instance_id, reply="waiting")
    for lead in leads[:4]:
        office.tell("lead.replied", lead=lead)
    for lead in leads[:4]:
        assert office.done(runs[lead])["last_letter"] == "skipped"
    office.world.advance(days=3, minutes=1)
    for lead in leads[4:]:
        assert office.done(runs[lead])["to_sales"] == "skipped"
    letters: dict[str, list[str]] = {}
    for one in payloads(receiver, "/mail"):
        letters.setdefault(one["letter"], []).append(one["to"])
    assert sorted(letters["welcome"]) == sorted(leads)
    assert sorted(letters["case study"] + letters["offer"]) == sorted(leads)
    assert letters["case study"]
    assert letters["offer"]
    assert sorted(letters["good bye"]) == sorted(leads[4:])
    assert office.told() == ["A lead answered"] * 4


def test_every_type_of_step_is_left_by_each_of_its_ways(office: Office) -> None:
    office.publish("tell-the-team", "step-types")
    campaign_id = str(office.org.campaign({"spend": 1}))
    high, low = [office.begin("Every type of step", {"campaign": campaign_id, "score": score}) for score in (8, 3)]
    office.answer(high, "ask")
    office.answer(low, "ask", approved=False)
    office.wait(high, wait="waiting", other="completed")
    office.wait(low, wait="waiting", other="completed")
    office.tell("creative.delivered", campaign="none of these")
    office.tell("creative.delivered", campaign=campaign_id)
    seen = office.done(high)
    assert (seen["resume"], seen["late"], seen["pause_a_day"]) == ("completed", "skipped", "skipped")
    assert sorted((seen["text_a"], seen["text_b"])) == ["completed", "skipped"]
    office.wait(low, pause_a_day="waiting")
    assert office.statuses(low)["resume"] == "skipped"
    wakes = office.steps(low)["pause_a_day"].wake_at.astimezone(ZoneInfo("Europe/Berlin"))
    assert wakes.weekday() < 5
    assert 9 <= wakes.hour < 17
    office.world.advance(days=5)
    assert office.done(low)["pause_a_day"] == "completed"
    assert office.told().count("For your information") == 2
    children = office.instances("Tell the team")
    assert {str(row.parent_instance_id) for row in children} == {str(high), str(low)}

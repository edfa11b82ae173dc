"""What the load acts upon: orgs with campaigns, rules, a workflow, and jobs that fire each minute."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from engine.control_jobs import pause_job
from engine.define_jobs import create_job
from tests.posting import SIGNING, Desk
from tests.stepping import Flow

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

    from core.db import Context
    from tests.world import Org, World

ORGS: Final = 3
BUDGET: Final = 1_000
"""Of the campaign that each evaluation of the rule `raise` adds 1 to."""
TOLD: Final = "chaos.told"
"""The type of the events that trigger a rule, which tells the receiver of them."""
REPLIED: Final = "chaos.replied"
"""The type of the events that runs of the workflow wait for."""
_MINUTELY: Final = 3
_CALLABLES: Final = '''
import json
import time
import urllib.request
from engine.callables.base import step


@step("chaos.post")
def post(call):
    """Think for a moment, in which processes may die, and tell the receiver, under the step's key."""
    time.sleep(call.params["seconds"])
    headers = {"Idempotency-Key": call.idempotency_key, "Content-Type": "application/json"}
    body = json.dumps({"n": call.params["n"]}).encode()
    request = urllib.request.Request(call.params["url"], data=body, headers=headers, method="POST")
    with urllib.request.urlopen(request, timeout=10) as response:
        return {"status": response.status}
'''


@dataclass(frozen=True, slots=True)
class Stage:
    """An org, and what of it the load uses."""

    org: Org
    campaign_id: UUID
    raising: UUID
    """The rule that adds 1 to the campaign's budget each time."""
    template_id: UUID
    minutely: tuple[UUID, ...]
    """Jobs that fire each minute."""

    @property
    def context(self) -> Context:
        """The org's admin."""
        return self.org.context

    def close(self) -> None:
        """Let no further minute fall due, so that all work ends."""
        for job_id in self.minutely:
            pause_job(self.org.world.app, self.context, job_id)


def make(world: World, receiver_url: str) -> list[Stage]:
    """Make the orgs."""
    return [_make(world.org(f"org {number}", "Europe/Berlin"), receiver_url) for number in range(ORGS)]


def _make(org: Org, receiver_url: str) -> Stage:
    desk = Desk(org)
    desk.keep("signing", SIGNING)
    campaign_id = org.campaign(budget=BUDGET)
    raising = org.rule(
        actions=[{"type": "adjust_budget", "params": {"amount": 1}}],
        name="raise",
        entity_type="campaign",
        entity_id=campaign_id,
    )
    org.rule(
        conditions=[{"field": "n", "operator": "is_not_null"}],
        actions=[{"type": "trigger_webhook", "params": _hook(f"{receiver_url}/told")}],
        name="tell",
        trigger_type="event",
        event_type=TOLD,
        entity_type="event",
    )
    template_id = Flow(desk).publish(*_steps(receiver_url), name="run")
    quiet = org.rule(actions=[{"type": "tag_entity", "params": {"add": ["seen"]}}], name="tag")
    each_minute = {"rule": str(quiet), "cron_expression": "* * * * *", "overlap": "allow"}
    jobs = [
        create_job(org.world.app, org.context, each_minute | {"name": f"minutely {number}"}).job_id
        for number in range(_MINUTELY)
    ]
    return Stage(org, campaign_id, raising, template_id, tuple(jobs))


def _hook(url: str) -> dict[str, Any]:
    return {"url": url, "signing_secret": "secret://signing"}


def _steps(receiver_url: str) -> list[dict[str, Any]]:
    """Return a split into internal steps with a delay, a webhook and a callable, a wait for an event; and a merge."""

    def noop(step_id: str, following: str | None) -> dict[str, Any]:
        config = {"callable": "cmis.noop", "params": {"n": 1}}
        return {"id": step_id, "type": "action", "config": config, "next": following}

    retry = {"max_retries": 10}  # a death of its worker is an attempt of it
    post = {"callable": "chaos.post", "params": {"url": f"{receiver_url}/post", "n": "{{ context.n }}", "seconds": 0.5}}
    replied = {"event_type": REPLIED, "correlation": {"field": "n", "value": "{{ context.n }}"}}
    hook = {"action": "trigger_webhook", "params": _hook(f"{receiver_url}/hook")}
    branches = {"mode": "parallel", "branches": ["first", "hook", "reply"]}
    return [
        noop("begin", "split"),
        {"id": "split", "type": "split", "config": branches},
        noop("first", "wait"),
        {"id": "wait", "type": "delay", "config": {"seconds": 1}, "next": "second"},
        noop("second", "joined"),
        {"id": "hook", "type": "action", "config": hook, "next": "post", "retry": retry},
        {"id": "post", "type": "action", "config": post, "next": "joined", "retry": retry},
        {"id": "reply", "type": "wait_for_event", "config": replied, "next": "joined"},
        {"id": "joined", "type": "merge", "config": {"mode": "all"}, "next": "end"},
        noop("end", None),
    ]


def lay_callables(place: Path) -> Path:
    """Lay a package with the workflow's callable where workers find it, as an installed one; returns its directory."""
    about = place / "chaos_callables-1.0.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: chaos-callables\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text("[cmis.steps]\nchaos.post = chaos_callables:post\n")
    place.joinpath("chaos_callables.py").write_text(_CALLABLES)
    return place

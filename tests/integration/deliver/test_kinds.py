"""Rules whose actions deliver, from the evaluation to what a receiver gets."""

from __future__ import annotations

import email
import json
from email.policy import default
from typing import TYPE_CHECKING

from standardwebhooks import Webhook

from engine.deliver.beginning import Done
from engine.deliver.outcome import Again, Succeeded
from tests.posting import SIGNING, Desk, post_of, settings
from tests.world import SPENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from tests.receiver.mail import Mailbox
    from tests.receiver.web import Receiver
    from tests.world import Org


def tasks_of(org: Org) -> Sequence[UUID]:
    query = "SELECT task_id FROM cmis.tasks WHERE org_id = :org_id AND kind = 'deliver' ORDER BY task_id"
    return [task_id for (task_id,) in org.world.rows(query, org_id=org.id)]


def test_a_webhook_goes_out_for_each_campaign_with_the_rules_payload(org: Org, desk: Desk, receiver: Receiver) -> None:
    desk.keep("token", "canary-token")
    names = {org.campaign(name=name, external_id=f"x-{name}"): name for name in ("A", "secret://token")}
    params = {
        "url": f"{receiver.url}/hook",
        "headers": {"Authorization": "Bearer secret://token"},
        "payload": {"text": "{{ campaign.name }} of {{ org.name }} by {{ rule.name }}"},
        "signing_secret": "secret://signing",
    }
    rule_id = org.rule(SPENT, [{"type": "webhook", "params": params}], name="Dear")
    [execution] = org.evaluate(rule_id)
    assert execution.status == "running"
    assert [desk.run(task_id) for task_id in tasks_of(org)] == [Done(Succeeded())] * 2

    requests = receiver.requests("/hook")
    told = [Webhook(SIGNING).verify(request.body, dict(request.headers)) for request in requests]
    assert {request.headers["authorization"] for request in requests} == {"Bearer canary-token"}
    assert {one["type"] for one in told} == {"rule.matched"}
    assert {one["data"]["rule"]["name"] for one in told} == {"Dear"}
    assert {one["data"]["execution_id"] for one in told} == {str(execution.execution_id)}
    by_name = {one["data"]["campaign"]["id"]: one["data"]["payload"]["text"] for one in told}
    org_name = org.world.one("SELECT name FROM cmis.orgs WHERE org_id = :id", id=org.id)
    assert by_name == {str(one): f"{name} of {org_name} by Dear" for one, name in names.items()}
    assert {one["data"]["campaign"]["external_id"] for one in told} == {
        "x-A",
        "x-secret://token",
    }
    assert all("canary" not in json.dumps(one) for one in told)
    ended = org.world.one(
        "SELECT status FROM cmis.automation_executions WHERE execution_id = :id", id=execution.execution_id
    )
    assert ended == "success"


def test_one_run_is_one_mail_and_one_message_for_slack(org: Org, receiver: Receiver, mailbox: Mailbox) -> None:
    desk = Desk(org, post_of(settings(SMTP_URL=mailbox.url, SMTP_FROM="cmis@acme.test")))
    for name in ("A", "B", "<!channel>"):
        org.campaign(name=name)
    text = {"title": "Dear campaigns", "message": "{{ campaign.name }} is dear"}
    rule_id = org.rule(
        SPENT,
        [
            {"type": "notify", "params": {"channel": "email", "to": ["ana@example.com"], **text}},
            {"type": "notify", "params": {"channel": "slack", "url": f"{receiver.url}/slack", **text}},
        ],
    )
    org.evaluate(rule_id)
    tasks = tasks_of(org)
    assert [desk.run(task_id) for task_id in tasks] == [Done(Succeeded())] * 2
    assert {len(desk.effects(task_id)) for task_id in tasks} == {3}

    [mail] = mailbox.mails
    read = email.message_from_bytes(mail.data, policy=default)
    assert (mail.recipients, read["Subject"]) == (("ana@example.com",), "Dear campaigns")
    assert all(f"{name} is dear".encode() in mail.data for name in ("A", "B", "<!channel>"))
    [request] = receiver.requests("/slack")
    lines = json.loads(request.body)["text"].splitlines()
    assert sorted(lines) == [f"Dear campaigns: {name} is dear" for name in ("&lt;!channel&gt;", "A", "B")]


def test_mail_waits_for_a_server(org: Org) -> None:
    desk = Desk(org)
    org.campaign()
    org.evaluate(org.rule(SPENT, [{"type": "notify", "params": {"channel": "email", "to": "ana@example.com"}}]))
    [task_id] = tasks_of(org)
    result = desk.run(task_id)
    assert isinstance(result, Done)
    assert isinstance(result.outcome, Again)
    assert "set SMTP_URL" in result.outcome.reason
    assert desk.effect(task_id).status == "queued"

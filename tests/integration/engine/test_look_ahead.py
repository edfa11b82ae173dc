"""What nobody has observed yet is not there: for rules that run now as for a replay."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, text
from sqlalchemy.exc import DBAPIError

import models
from tests.world import NOTIFY, SPENT

if TYPE_CHECKING:
    from tests.world import Org, World


def test_metrics_that_are_imported_ahead_of_the_clock_count_once_they_are_observed(world: World, org: Org) -> None:
    campaign_id, now = org.campaign({}), world.now()
    row = {"org_id": org.id, "campaign_id": campaign_id, "date": (now - timedelta(days=1)).date(), "spend": 5}
    with world.app.transaction(org.context) as connection:
        connection.execute(insert(models.CampaignMetric), row | {"observed_at": now + timedelta(hours=1)})
    rule_id = org.rule(SPENT, NOTIFY)
    [early] = org.evaluate(rule_id)
    assert early.skip_reason == "conditions_unknown"
    world.advance(hours=1)
    [later] = org.evaluate(rule_id)
    assert later.status == "success"


def test_a_snapshot_of_an_org_sees_that_org_and_writes_nothing(world: World, org: Org) -> None:
    other = world.org("other")
    mine, _ = org.campaign(), other.campaign()
    with world.app.snapshot(org.context) as connection:
        assert connection.execute(text("SELECT campaign_id FROM cmis.campaigns")).scalars().all() == [mine]
        with pytest.raises(DBAPIError, match="read-only transaction"):
            connection.execute(text("UPDATE cmis.campaigns SET budget = 1"))

"""A real advertiser's export, from the file to the paused campaigns, through the command line alone.

The file is not ours to publish: CMIS_REAL_EXPORT names it, and without it these tests are skipped.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from dev.site import Site

_RULE = {
    "name": "Pause costly",
    "conditions": [{"field": "cpa", "operator": ">", "value": 50, "window": "lifetime"}],
    "actions": [{"type": "pause_underperforming"}],
    "status": "active",
}
_MAPPING = ("--map", "fb_campaign_id=campaign", "--map", "Spent=spend", "--map", "Total_Conversion=conversions")


@pytest.fixture
def export() -> Path:
    path = os.environ.get("CMIS_REAL_EXPORT")
    if not path:
        pytest.skip("CMIS_REAL_EXPORT names no file: the real export is not part of the repository")
    return Path(path)


def test_a_rule_pauses_exactly_the_campaigns_that_cost_too_much_per_conversion(
    database: Site, export: Path, tmp_path: Path
) -> None:
    costly, unknown = _expected(export)
    assert len(unknown) == 2
    assert costly
    _run(database, "orgs", "create", "acme")
    report = _run(database, "metrics", "import", str(export), "--org", "acme", *_MAPPING)
    assert (report["rows_read"], report["rows_rejected"], report["campaigns"]) == (1143, 0, 691)
    assert report["days"] == 31
    assert round(report["totals"]["spend"], 2) == 58705.23

    (tmp_path / "rule.json").write_text(json.dumps(_RULE))
    rule = _run(database, "rules", "create", "--org", "acme", "--file", str(tmp_path / "rule.json"))
    execution = _run(database, "rules", "run", rule["rule_id"], "--org", "acme")
    assert execution["status"] == "success"
    assert _paused(database) == set(costly)

    evaluated = execution["conditions_evaluated"]
    assert evaluated["counts"]["acted"] == len(costly)
    assert evaluated["counts"]["unknown"] == len(unknown)
    acted = {entity["name"]: entity["trace"]["all"][0] for entity in evaluated["entities"] if entity["acted"]}
    assert set(acted) == set(costly)
    for name, leaf in acted.items():
        assert leaf["actual"] == pytest.approx(float(costly[name]))
        assert (leaf["field"], leaf["window"], leaf["expected"], leaf["result"]) == ("cpa", "lifetime", 50, True)

    again = _run(database, "rules", "run", rule["rule_id"], "--org", "acme")
    assert again["status"] == "skipped"
    assert again["conditions_evaluated"]["counts"]["cooldown"] == len(costly)
    assert _paused(database) == set(costly)
    taken = _run(database, "audit", "list", "--org", "acme", "--action", "action_taken", "--limit", "200")
    assert len(taken) == len(costly)
    assert {entry["after"]["status"] for entry in taken} == {"paused"}


def _expected(export: Path) -> tuple[dict[str, Decimal], set[str]]:
    """Recompute from the file alone: cost per conversion of the costly campaigns, and those without a conversion."""
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    with export.open(encoding="utf-8-sig") as file:
        for row in csv.DictReader(file):
            campaign = sums[row["fb_campaign_id"]]
            campaign[0] += round(Decimal(row["Spent"]), 6)
            campaign[1] += Decimal(row["Total_Conversion"])
    costly = {name: spend / count for name, (spend, count) in sums.items() if count and spend / count > 50}
    return costly, {name for name, (_, count) in sums.items() if not count}


def _paused(database: Site) -> set[str]:
    rows = _run(database, "campaigns", "list", "--org", "acme", "--status", "paused", "--limit", "1000")
    return {row["external_id"] for row in rows}


def _run(database: Site, *arguments: str) -> Any:
    return json.loads(database.cmis(*arguments, "--json"))

"""The demo, as `make demo` runs it: to its end, counted from the database."""

from __future__ import annotations

import json
import subprocess
import sys

from dev.site import ROOT


def test_the_demo_runs_every_due_job_to_its_end_and_shows_each_gate() -> None:
    command = [sys.executable, "-m", "cli.main", "demo", "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert report["orgs"] >= 3
    assert report["campaigns"] >= 200
    assert report["rules"] >= 12
    assert report["rules_evaluated"] == sum(report["executions"].values()) >= report["jobs"]
    gates = {"rule_inactive", "daily_limit", "cooldown", "conditions_unknown", "conditions_not_met", "guardrail"}
    assert gates <= set(report["skipped"])
    assert report["retried"] >= 1
    assert report["actions_succeeded"] > report["campaigns_paused"] > 0
    assert report["budgets_changed"] > 0
    assert report["audit_rows"] > report["rules_evaluated"] + report["actions_succeeded"]
    assert report["invariants_broken"] == {}
    zones = {execution["timezone"] for execution in report["detail"]}
    assert {"America/New_York", "Europe/Berlin"} & zones

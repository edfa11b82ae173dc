"""Pairs of a rule and a campaign per second in one process, with traces; beside the evaluator that the tests use."""

from __future__ import annotations

import gc
import time
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import psycopg

from core.db import ENGINE_ACTOR, Context, Database
from core.ids import uuid7
from engine.chunk import Item
from engine.rules.guardrails import stored
from engine.run_rules.compiled import compile_rule
from engine.run_rules.facts import Page, load
from engine.run_rules.group import PAGE
from engine.run_rules.operands import Operands
from engine.run_rules.plan import plan_page
from engine.run_rules.state import Memory, Overlay, Run
from engine.store import campaigns, orgs, rules
from tests.unit.rules import reference

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from dev.site import Site
    from engine.run_rules.compiled import Rule

_RULES: Final = "SELECT org_id, rule_id FROM cmis.automation_rules ORDER BY rule_id LIMIT %s"


@dataclass(frozen=True, slots=True)
class Pairs:
    """An org's rules, each about all of its campaigns, and what the database said of them."""

    rules: Sequence[Rule]
    documents: Sequence[Any]
    """The conditions of each rule as they are written."""
    page: Page
    now: datetime

    @property
    def count(self) -> int:
        """How many pairs there are."""
        return len(self.rules) * len(self.page.rows)


def read(site: Site, count: int) -> Pairs:
    """Read `count` rules and all campaigns of the one org that there is, and all facts, as a chunk does."""
    with psycopg.connect(site.urls.migration) as administrator:
        found = administrator.execute(_RULES, [count]).fetchall()
    org_id, rule_ids = found[0][0], [rule_id for _, rule_id in found]
    with (
        closing(Database(site.urls.app, variable="DATABASE_URL", application="bench-entities")) as database,
        database.transaction(Context(org_id, ENGINE_ACTOR)) as connection,
    ):
        rows = rules.lock(connection, org_id, rule_ids)
        written = rules.definitions(connection, org_id, rule_ids)
        org = orgs.moment(connection, org_id)
        guardrails = stored(org.guardrails)
        compiled = [
            replace(compile_rule(org_id, row, written[row.rule_id], guardrails), entity_id=None) for row in rows
        ]
        operands = {operand for rule in compiled for operand in rule.program.operands}
        rows_of_page = campaigns.page(connection, org_id, after=UUID(int=0), limit=PAGE)
        page = load(connection, org_id, rows_of_page, operands, now=org.now, today=org.now.date())
    return Pairs(compiled, [{"all": written[row.rule_id].conditions} for row in rows], page, org.now)


def ours(pairs: Pairs) -> float:
    """Return pairs per second through the engine: facts, conditions, planned actions, traces."""
    runs = [Run(Item(rule.rule_id, uuid7(pairs.now), "manual"), rule) for rule in pairs.rules]
    page = Page(pairs.now, pairs.page.today, pairs.page.rows, pairs.page.sums)
    overlay, memory = Overlay(page), Memory(pairs.now, pairs.now.date(), {}, set())
    gc.collect()
    begun = time.perf_counter()
    for run in runs:
        plan_page(run, overlay, memory)
    _ = [run.shown_entities for run in runs]  # the traces of near misses, which are made when they are recorded
    return pairs.count / (time.perf_counter() - begun)


def naive(pairs: Pairs) -> float:
    """Return pairs per second through the tests' evaluator: facts, once a campaign, and conditions alone."""
    page = Page(pairs.now, pairs.page.today, pairs.page.rows, pairs.page.sums)
    read = Operands({operand for rule in pairs.rules for operand in rule.program.operands})
    gc.collect()
    begun = time.perf_counter()
    facts = [page.facts(read, row) for row in page.rows.values()]
    for document in pairs.documents:
        for known in facts:
            reference.decide(document, known)
    return pairs.count / (time.perf_counter() - begun)

"""The six rule templates; ids and values are those of SPEC §3. Creating an org seeds one draft rule of each.

They act on a week's metrics (the default window) but for the daily spend, and are drafts until a person activates them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from engine.rules.windows import Window

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class RuleTemplate:
    """One condition and one action; `percent` is the action's value where it has one."""

    id: str
    name: str
    description: str
    rule_type: str
    field: str
    operator: str
    threshold: int | float
    action: str
    percent: int | None = None
    window: Window | None = None

    def document(self) -> dict[str, object]:
        """Return the rule as `definition.parse_rule` takes it; a new object at each call."""
        window = {} if self.window is None else {"window": self.window.value}
        params = {} if self.percent is None else {"percent": self.percent}
        return {
            "name": self.name,
            "description": self.description,
            "rule_type": self.rule_type,
            "conditions": [{"field": self.field, **window, "operator": self.operator, "value": self.threshold}],
            "actions": [{"type": self.action, "params": params}],
            "status": "draft",
        }


_TEMPLATES: Final = (
    RuleTemplate(
        id="pause_high_cpa",
        name="Pause high CPA",
        description="Pause campaigns whose cost per acquisition is above 50.",
        rule_type="performance",
        field="cpa",
        operator=">",
        threshold=50,
        action="pause_underperforming",
    ),
    RuleTemplate(
        id="increase_budget_high_roas",
        name="Increase budget on high ROAS",
        description="Raise the budget by 20 % where the return on ad spend is above 3.",
        rule_type="budget",
        field="roas",
        operator=">",
        threshold=3.0,
        action="increase_budget",
        percent=20,
    ),
    RuleTemplate(
        id="decrease_budget_low_ctr",
        name="Decrease budget on low CTR",
        description="Lower the budget by 30 % where the click-through rate is below 1 %.",
        rule_type="budget",
        field="ctr",
        operator="<",
        threshold=0.01,
        action="decrease_budget",
        percent=30,
    ),
    RuleTemplate(
        id="notify_high_spend",
        name="Notify of high spend",
        description="Tell when a campaign has spent more than 1,000 today.",
        rule_type="alert",
        field="spend",
        operator=">",
        threshold=1000,
        action="notify",
        window=Window.TODAY,
    ),
    RuleTemplate(
        id="notify_low_conversion_rate",
        name="Notify of a low conversion rate",
        description="Tell when fewer than 2 % of a campaign's clicks convert.",
        rule_type="alert",
        field="conversion_rate",
        operator="<",
        threshold=0.02,
        action="notify",
    ),
    RuleTemplate(
        id="pause_low_roas",
        name="Pause low ROAS",
        description="Pause campaigns whose return on ad spend is below 1.5.",
        rule_type="performance",
        field="roas",
        operator="<",
        threshold=1.5,
        action="pause_underperforming",
    ),
)

TEMPLATES: Final[Mapping[str, RuleTemplate]] = MappingProxyType({template.id: template for template in _TEMPLATES})

"""Every action kind by its name and aliases, ours and other packages'; the reading of a rule's list of actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from core.errors import InputError, Problem
from engine.actions.base import Action
from engine.actions.bid import AdjustBid
from engine.actions.budget import AdjustBudget
from engine.actions.campaign_change import CampaignChange
from engine.actions.field import SetField
from engine.actions.notification import SendNotification
from engine.actions.packages import Kind, brought
from engine.actions.start_workflow import StartWorkflow
from engine.actions.status import PauseCampaign, ResumeCampaign
from engine.actions.tags import TagEntity
from engine.actions.webhook import TriggerWebhook

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from engine.actions.base import Params
    from engine.rules.conflicts import EffectKind

_PACKAGE: Final = "cmis-automation"
_OURS: Final = (
    PauseCampaign(),
    ResumeCampaign(),
    AdjustBudget(),
    AdjustBid(),
    TagEntity(),
    SetField(),
    SendNotification(),
    TriggerWebhook(),
    StartWorkflow(),
)
_CHANGES: Final = "campaign change"
PUSH: Final = "push_change"
"""The kind of what tells connectors of changes (engine.push); no rule may write it, and no package bring it."""
_KEYS: Final = ("type", "params", "value")


@lru_cache(maxsize=1)
def kinds() -> Mapping[str, Kind]:
    """Return every kind by its name. Other packages are looked for once, when the first kind is asked for.

    Not at import: their modules import this package.
    """
    ours = [Kind(action, _PACKAGE) for action in _OURS]
    taken = [PUSH, *(spelling for kind in ours for spelling in kind.spellings)]
    return {kind.action.name: kind for kind in (*ours, *brought(taken))}


@lru_cache(maxsize=1)
def _spellings() -> Mapping[str, Action]:
    return {spelling: kind.action for kind in kinds().values() for spelling in kind.spellings}


class _Actions(Mapping[str, Action]):
    """The actions of all kinds by name, known as soon as one is asked for."""

    def __getitem__(self, name: str) -> Action:
        return kinds()[name].action

    def __iter__(self) -> Iterator[str]:
        return iter(kinds())

    def __len__(self) -> int:
        return len(kinds())


KINDS: Final[Mapping[str, Action]] = _Actions()


def applied_as(kind: str) -> str:
    """Return the name under which a kind's effects are applied: all that only change columns are written together."""
    return _CHANGES if type(KINDS[kind]).apply is CampaignChange.apply else kind


def kind_of(spelling: str) -> Action | None:
    """Return the kind that a name or an alias means; None if there is none."""
    return _spellings().get(spelling)


@dataclass(frozen=True, slots=True)
class ActionSpec:
    """One valid action of a rule: its kind (whatever alias was written) and its canonical parameters."""

    kind: str
    params: Params

    @property
    def direction(self) -> EffectKind | None:
        """Which way it moves what it is applied to, as far as another action can do the opposite."""
        return KINDS[self.kind].direction(self.params)


def parse_actions(document: object, path: str) -> Sequence[ActionSpec]:
    """Read a list of `{type, params}` or `{type, value}`; raises InputError with every problem at its path."""
    problems: list[Problem] = []
    specs: list[ActionSpec] = []
    for index, node in enumerate(document if isinstance(document, list) else [document]):
        try:
            specs.append(_parse(node, f"{path}[{index}]"))
        except InputError as error:
            problems.extend(error.problems)
    if problems:
        raise InputError(problems)
    return specs


def _parse(node: object, path: str) -> ActionSpec:
    if not isinstance(node, dict):
        raise InputError.of(path, "must be an object", "write {type, params}")
    unknown = [Problem(f"{path}.{key}", "unknown key", "write {type, params}") for key in node if key not in _KEYS]
    if unknown:
        raise InputError(unknown)
    written = node.get("type")
    action = kind_of(written) if isinstance(written, str) else None
    if action is None or not isinstance(written, str):
        raise InputError.of(f"{path}.type", f"unknown action {written!r}"[:80], f"allowed: {', '.join(_spellings())}")
    params = {} if node.get("params") is None else node["params"]
    if not isinstance(params, dict):
        raise InputError.of(f"{path}.params", "must be an object", "write {name: value}, or leave it out")
    if "value" in node:
        params = {"value": node["value"], **params}
    return ActionSpec(action.name, action.validate(params, spelling=written, path=f"{path}.params"))

"""`tag_entity`: tags added to a campaign or taken from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from core.errors import InputError, Problem
from engine.actions.base import Change, Impossible, Nothing
from engine.actions.campaign_change import CampaignChange
from engine.actions.params import unknown_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from engine.actions.base import Campaign, Params, Plan, Scope

MAX_TAGS: Final = 20
"""How many tags one action may add and remove."""
MAX_TAG: Final = 50
"""Characters of a tag."""
MAX_OF_CAMPAIGN: Final = 100
"""How many tags an action leaves on a campaign at most."""
_SPELLINGS: Final = ("tags", "tag", "value")
_SHOWN: Final = 80


class TagEntity(CampaignChange):
    """Add tags to a campaign, or remove them."""

    name = "tag_entity"
    idempotent = True

    def validate(self, params: Mapping[str, Any], *, spelling: str, path: str) -> Params:
        """Accept `tags` (or `tag`, `value`: one or a list) to add and `remove` (one or a list) to take away.

        `{"tag": …, "remove": true}` takes away what it names.
        """
        del spelling
        problems = unknown_keys(params, (*_SPELLINGS, "remove"), path)
        given = [key for key in _SPELLINGS if params.get(key) is not None]
        if len(given) > 1:
            remedy = f"give one of {', '.join(_SPELLINGS)}"
            problems.append(Problem(path, f"{' and '.join(given)} say the same", remedy))
        add = _read(params, given[0], path, problems) if given else []
        remove = params.get("remove")
        if isinstance(remove, bool):
            add, removed = ([], add) if remove else (add, [])
        else:
            removed = [] if remove is None else _read(params, "remove", path, problems)
        _check_together(add, removed, path, problems)
        if problems:
            raise InputError(problems)
        return {key: tags for key, tags in (("tags", add), ("remove", removed)) if tags}

    def plan(self, params: Params, campaign: Campaign, scope: Scope) -> Plan:
        """Take tags away, then append those that are not there; the others keep their order."""
        del scope
        before = list(campaign.tags)
        kept = [tag for tag in before if tag not in params.get("remove", ())]
        after = kept + [tag for tag in params.get("tags", ()) if tag not in kept]
        if after == before:
            return Nothing()
        if len(after) > max(MAX_OF_CAMPAIGN, len(before)):
            return Impossible(f"the campaign would have more than {MAX_OF_CAMPAIGN} tags")
        return Change({"tags": before}, {"tags": after})


def _read(params: Mapping[str, Any], key: str, path: str, problems: list[Problem]) -> list[str]:
    """Return the tags under a key, each once and without blanks around it."""
    value = params[key]
    tags = value if isinstance(value, list | tuple) else [value]
    read = []
    for tag in tags:
        stripped = tag.strip() if isinstance(tag, str) else ""
        if 1 <= len(stripped) <= MAX_TAG:
            read.append(stripped)
        else:
            said = f"a tag must be a text of 1 to {MAX_TAG} characters, not {tag!r}"[:_SHOWN]
            problems.append(Problem(f"{path}.{key}", said, 'write ["one", "another"]'))
    return list(dict.fromkeys(read))


def _check_together(add: Sequence[str], remove: Sequence[str], path: str, problems: list[Problem]) -> None:
    if not add and not remove and not problems:
        problems.append(Problem(path, "names no tag", 'give {"tags": ["one"]} or {"remove": ["one"]}'))
    if len(add) + len(remove) > MAX_TAGS:
        remedy = "use several actions"
        problems.append(Problem(path, f"names {len(add) + len(remove)} tags; at most {MAX_TAGS} are allowed", remedy))
    both = [tag for tag in add if tag in remove]
    if both:
        said = f"{both[0]!r} is to be added, too"[:_SHOWN]
        problems.append(Problem(f"{path}.remove", said, "name a tag in one of the two"))

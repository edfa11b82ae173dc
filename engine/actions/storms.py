"""Against storms: where a rule tells of very many campaigns at once, one notification stands for all of them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from engine.references import cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from uuid import UUID

    from engine.actions.base import Effect

MOST: Final = 20
"""Campaigns of which an execution tells one by one, at one place of its rule's list."""
NAMED: Final = 10
"""Campaigns that are named, and messages that are quoted, in the one that stands for all."""
_QUOTED: Final = 160


def is_storm(effects: Sequence[Effect]) -> bool:
    """Say whether the effects of one place are told together."""
    return len(effects) > MOST


def told_together(effects: Sequence[Effect], names: Mapping[UUID, str]) -> dict[str, Any]:
    """Return the columns of the notification that stands for all the effects; `names` are those of the first ones."""
    said = [effect.after["notification"] for effect in effects]
    titles, bodies = (list(dict.fromkeys(one[key] for one in said)) for key in ("title", "body"))
    quoted = [cut(body, _QUOTED) for body in bodies[:NAMED]] if len(bodies) > 1 else bodies
    named = [names[effect.entity_id] for effect in effects[:NAMED] if effect.entity_id in names]
    about = f"{len(effects):,} campaigns: {', '.join(named)} … and {len(effects) - len(named):,} more."
    return {
        "channel": said[0]["channel"],
        "title": titles[0],
        "body": "\n".join([*quoted, *(["…"] if len(bodies) > len(quoted) else []), about]),
        "entities": len(effects),
    }

"""What the commands on runs of workflows have in common: their arguments, whose hand steers, what became of it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from cli.arguments import parse_id, parse_json, read_json
from cli.output import emit_json, out
from core.errors import InputError
from engine.control_workflows.steering import Hand

if TYPE_CHECKING:
    from uuid import UUID

    from cli.session import OrgSession
    from engine.control_workflows.steering import Steered


def hand_of(session: OrgSession) -> Hand:
    """Return the hand of whoever gave the command; the schedulers send the messages."""
    return Hand(session.database, session.context)


def instance_id_of(text: str, option: str = "INSTANCE") -> UUID:
    """Return the id of a run; raises InputError on `option`."""
    found = parse_id(option, text)
    if found is None:
        raise InputError.of(option, "is required", "see `cmis workflows instances`")
    return found


def context_of(text: str | None) -> Any:
    """Return the JSON value that --context gives, from a file after @; None where it is absent."""
    if text is None:
        return None
    return read_json("--context", text[1:]) if text.startswith("@") else parse_json("--context", text)


def tell(done: Steered, verb: str, *, as_json: bool) -> None:
    """Say what became of a run: `verb` in the past, or that it was so before."""
    if as_json:
        emit_json(asdict(done))
        return
    before = f"was {verb} before, nothing is done; " if done.already else f"{verb}; "
    said = "" if done.said is None else f"\n{done.said}"
    out.print(
        f"run {done.instance_id}: {before}it is {done.status}{said}", highlight=False, markup=False, soft_wrap=True
    )

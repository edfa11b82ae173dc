"""The structure of definitions as a JSON Schema (draft 2020-12), for editors and other programs.

It says less than engine.workflows.reading: nothing of the graph, of references, and of the values of conditions.
"""

from __future__ import annotations

import json
from importlib import resources
from typing import Any


def schema() -> dict[str, Any]:
    """Return the schema."""
    text = (resources.files("engine.workflows") / "definition.schema.json").read_text(encoding="utf-8")
    read: dict[str, Any] = json.loads(text)
    return read

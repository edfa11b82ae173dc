"""JSON that is written out already: it goes into a document as it stands, and is first read by whoever reads that."""

from __future__ import annotations

import json
from typing import Any


class Written:
    """The text of a JSON value; `core.db` puts it into bound JSON as it is."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def document(self) -> Any:
        """Return the value."""
        return json.loads(self.text)

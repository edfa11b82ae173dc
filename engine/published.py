"""Published definitions, read once a process: a version never changes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from core.errors import NotFoundError
from engine.store import versions
from engine.workflows.reading import parse_definition

if TYPE_CHECKING:
    from uuid import UUID

    from sqlalchemy import Connection

    from engine.workflows.definition import Definition

_MOST: Final = 128
_known: OrderedDict[tuple[UUID, int], Definition] = OrderedDict()
_lock: Final = threading.Lock()


def definition(connection: Connection, org_id: UUID, template_id: UUID, version: int) -> Definition:
    """Return the definition of a version of one of the org's templates. Raises NotFoundError.

    Whoever asks has read the template, or an instance of it, under row security: ids are never those of another org.
    """
    key = (template_id, version)
    with _lock:
        if key in _known:
            _known.move_to_end(key)
            return _known[key]
    document = versions.definition(connection, org_id, template_id, version)
    if document is None:
        raise NotFoundError.of("version", f"the workflow has no version {version}", "see `cmis workflows show`")
    found = parse_definition(document)
    with _lock:
        _known[key] = found
        while len(_known) > _MOST:
            _known.popitem(last=False)
    return found

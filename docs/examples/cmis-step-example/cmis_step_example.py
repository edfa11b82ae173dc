"""Two steps for workflows: `example.score_lead`, quick and pure, and `example.tell_crm`, which calls a service."""

from __future__ import annotations

import json
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from core.errors import PermanentError, TransientError
from engine.callables.base import step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from engine.callables.base import Call

_POINTS: Final = {"opened": 1, "clicked": 5, "visited": 10, "asked": 40}
_HOT: Final = 50
_BUSY: Final = 429
_OUR_FAULT: Final = range(400, 500)


@step("example.score_lead", internal=True)
def score_lead(call: Call) -> Mapping[str, Any]:
    """Add up what a lead has done: params `done`, a list of opened, clicked, visited, asked."""
    done = call.params.get("done")
    if not isinstance(done, list) or (unknown := [one for one in done if one not in _POINTS]):
        raise PermanentError(
            f"done: give a list of {', '.join(_POINTS)}, not {done if not isinstance(done, list) else unknown}"
        )
    score = sum(_POINTS[one] for one in done)
    return {"score": score, "hot": score >= _HOT}


@step("example.tell_crm")
def tell_crm(call: Call) -> Mapping[str, Any]:
    """Post the params `lead` to the params `url`, under a key that is the same in every attempt."""
    url = urlsplit(call.params["url"])
    connect = HTTPSConnection if url.scheme == "https" else HTTPConnection
    connection = connect(url.netloc, timeout=call.deadline)
    headers = {"Content-Type": "application/json", "Idempotency-Key": call.idempotency_key}
    try:
        connection.request("POST", url.path or "/", json.dumps(call.params["lead"]), headers)
        answer = connection.getresponse()
        said = answer.read(10_000).decode(errors="replace")
    except (OSError, HTTPException) as error:
        raise TransientError(f"the CRM did not answer: {error}") from error
    finally:
        connection.close()
    if answer.status in _OUR_FAULT and answer.status != _BUSY:
        raise PermanentError(f"the CRM refused the lead with {answer.status}: {said[:200]}")
    if answer.status >= _BUSY:
        raise TransientError(f"the CRM answered {answer.status}")
    return {"status": answer.status, "said": said}

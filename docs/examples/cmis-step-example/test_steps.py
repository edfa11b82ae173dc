"""The steps alone: a callable is a function of a call."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from cmis_step_example import score_lead, tell_crm

from core.errors import PermanentError, TransientError
from engine.callables.base import Call

if TYPE_CHECKING:
    from collections.abc import Iterator


class Crm(BaseHTTPRequestHandler):
    """A CRM that answers as it is told."""

    status: ClassVar[int] = 200
    keys: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        self.keys.append(self.headers["Idempotency-Key"])
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"noted")

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def url() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Crm) as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        Crm.keys.clear()
        yield f"http://127.0.0.1:{server.server_port}/leads"
        server.shutdown()
        thread.join()


def call(attempt: int = 1, **params: Any) -> Call:
    return Call(org_id="org", instance_id="run", step_id="tell", attempt=attempt, params=params, deadline=5)


def test_a_lead_that_asked_and_visited_is_hot() -> None:
    assert score_lead(call(done=["asked", "visited"])) == {"score": 50, "hot": True}
    assert score_lead(call(done=[])) == {"score": 0, "hot": False}


@pytest.mark.parametrize("done", [None, "asked", ["flew"]])
def test_a_lead_that_cannot_be_scored_is_not_tried_again(done: object) -> None:
    with pytest.raises(PermanentError, match="give a list of opened"):
        score_lead(call(done=done))


def test_every_attempt_goes_by_the_same_key(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Crm, "status", 503)
    with pytest.raises(TransientError, match="answered 503"):
        tell_crm(call(url=url, lead={"id": 7}))
    monkeypatch.setattr(Crm, "status", 200)
    assert tell_crm(call(2, url=url, lead={"id": 7})) == {"status": 200, "said": "noted"}
    assert Crm.keys == ["run:tell"] * 2


def test_a_lead_that_the_crm_refuses_is_not_tried_again_and_one_that_it_does_not_get_is(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Crm, "status", 404)
    with pytest.raises(PermanentError, match="with 404: noted"):
        tell_crm(call(url=url, lead={}))
    with pytest.raises(TransientError, match="did not answer"):
        tell_crm(call(url="http://127.0.0.1:1/", lead={}))

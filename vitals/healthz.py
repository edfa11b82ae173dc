"""`/healthz` over HTTP, for orchestrators: answered from the last look, so that no server can make the answer wait."""

from __future__ import annotations

import json
import logging
import os
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Final

from core.clock import monotonic
from models.process_enums import ProcessState
from vitals.liveness import LOOKS

if TYPE_CHECKING:
    from vitals.pulse import Pulse

logger = logging.getLogger(__name__)

_REQUEST_SECONDS: Final = 5


def answer(pulse: Pulse) -> tuple[HTTPStatus, dict[str, Any]]:
    """Return the status and the document that tell of a process: 503 if it should be started again.

    One that waits for a server which is away is well: starting it again would not bring that server back.
    """
    last = pulse.snapshot
    if last is None:
        return HTTPStatus.OK, _document(pulse, "starting", [])
    age = monotonic() - last.looked_at
    reasons = [reason for reason in (last.judgement.reason, last.unwritten) if reason]
    if age > pulse.every * LOOKS:
        return HTTPStatus.SERVICE_UNAVAILABLE, _document(pulse, "stuck", [*reasons, f"not looked at for {age:.0f} s"])
    state = last.judgement.state
    well = state is not ProcessState.STUCK
    document = _document(pulse, state.value, reasons) | {
        "tasks": last.tasks,
        "claimed_seconds_ago": _ago(last.claimed_at),
        "polled_seconds_ago": _ago(last.polled_at),
    }
    return HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, document


def _document(pulse: Pulse, state: str, reasons: list[str]) -> dict[str, Any]:
    who = pulse.identity
    return {
        "state": state,
        "reasons": reasons,
        "process_id": str(who.process_id),
        "kind": who.kind,
        "version": who.version,
        "queues": list(who.queues),
    }


def _ago(moment: float | None) -> float | None:
    return None if moment is None else round(monotonic() - moment, 1)


class _Handler(BaseHTTPRequestHandler):
    """One path, one method; nothing of the request is used but these."""

    timeout = _REQUEST_SECONDS
    server_version = "cmis"
    sys_version = ""

    def __init__(self, pulse: Pulse, *args: Any) -> None:
        self._pulse = pulse
        super().__init__(*args)

    def do_GET(self) -> None:
        """Answer `/healthz`."""
        if self.path.partition("?")[0] != "/healthz":
            self._send(HTTPStatus.NOT_FOUND, {"reasons": ["there is only /healthz"]})
        else:
            self._send(*answer(self._pulse))

    do_HEAD = do_GET  # noqa: N815 - the name that the standard library calls

    def _send(self, status: HTTPStatus, document: dict[str, Any]) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: a probe comes every few seconds."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Take no notice of a client that went away."""


def serve(pulse: Pulse, host: str, port: int) -> None:
    """Answer on `host:port` from now on, in a thread. A port that is taken costs the endpoint, not the work."""
    try:
        server = _Server((host, port), partial(_Handler, pulse))
    except OSError as error:
        remedy = "give each process of a host a CMIS_HEALTH_PORT of its own"
        logger.error("CMIS_HEALTH_PORT: cannot listen on %s:%d: %s (%s)", host, port, error.strerror or error, remedy)  # noqa: TRY400 - the message says all
        return
    # a child of the pool would keep the port after this process's death
    os.register_at_fork(after_in_child=server.socket.close)
    threading.Thread(target=server.serve_forever, name="healthz", daemon=True).start()
    logger.info("answering on http://%s:%d/healthz", *server.server_address[:2])

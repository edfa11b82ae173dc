"""The receivers as a process: says its URLs in one line of JSON, and serves until its input ends or it is told to go.

`http` and `smtp` are URLs. GET `/_log` and `/_effects` of `http` show what came; POST `/_script` takes
`{"path": "/hook", "behaviours": ["fails/500", "ok"]}`.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys

from tests.receiver.mail import Mailbox
from tests.receiver.web import Receiver


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser(prog="python -m tests.receiver", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="of HTTP; default: any that is free")
    parser.add_argument("--ignore-keys", action="store_true", help="do what has one key as often as it is asked for")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with Receiver(honours_keys=not options.ignore_keys, port=options.port) as web, Mailbox() as mailbox:
        sys.stdout.write(json.dumps({"http": web.url, "smtp": mailbox.url}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    main()

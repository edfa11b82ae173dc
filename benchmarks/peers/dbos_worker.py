"""DBOS, a process that works off the queue until its stdin ends."""

import os
import sys

from benchmarks.peers.dbos_app import DBOS, QUEUE, launch, tell, versions


def main():
    """Register the queue, say `ready` with the versions, and work."""
    launch(executor_id=str(os.getpid()))
    DBOS.register_queue(
        QUEUE,
        worker_concurrency=int(os.environ["PEER_CONCURRENCY"]),
        polling_interval_sec=float(os.environ["PEER_POLL_SECONDS"]),
        on_conflict="always_update",
    )
    tell(versions=versions())
    sys.stdin.read()
    DBOS.destroy()


if __name__ == "__main__":
    main()

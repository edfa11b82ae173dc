"""DBOS, one workflow at a time in this process: each line of stdin is a number of steps, answered with seconds."""

import sys
import time

from benchmarks.peers.dbos_app import DBOS, launch, steps, tell, versions


def main():
    """Say `ready` with the versions; then measure as asked until stdin ends."""
    launch()
    tell(versions=versions())
    for line in sys.stdin:
        begun = time.perf_counter()
        steps(int(line))
        tell(seconds=time.perf_counter() - begun)
    DBOS.destroy()


if __name__ == "__main__":
    main()

"""Prefect, one flow at a time in this process: each line of stdin is a number of tasks, answered with seconds."""

import json
import os
import sys
import time
from importlib.metadata import version

from prefect import flow, task

answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
"""What Prefect prints is no answer."""


@task
def noop(number):
    """Do nothing; the number is its input, and its output."""
    return number


@flow
def steps(count):
    """Take so many tasks, one after another."""
    for number in range(count):
        noop(number)


def tell(**said):
    """Print a line of JSON."""
    answers.write(json.dumps(said) + "\n")
    answers.flush()


def main():
    """Say `ready` with the version; then measure as asked until stdin ends."""
    tell(versions={"prefect": version("prefect")})
    for line in sys.stdin:
        begun = time.perf_counter()
        steps(int(line))
        tell(seconds=time.perf_counter() - begun)


if __name__ == "__main__":
    main()

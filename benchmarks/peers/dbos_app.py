"""DBOS: the workflow of steps that do nothing, and where its tables are."""

import json
import os
import sys
import time
from importlib.metadata import version

from dbos import DBOS

QUEUE = "peer"
APP = "peer"
VERSION = "1"
"""Said aloud, so that a client may enqueue for it."""


@DBOS.step()
def noop(number):
    """Do nothing; the number is its input, and its output."""
    return number


@DBOS.workflow()
def steps(count):
    """Take so many steps, one after another."""
    for number in range(count):
        noop(number)


def launch(**settings):
    """Make its tables where they are missing, and start."""
    config = {"name": APP, "system_database_url": database(), "log_level": "WARNING", "application_version": VERSION}
    DBOS(config=config | settings)
    DBOS.launch()


def database():
    """Return SQLAlchemy's URL of the database, for psycopg 3."""
    return os.environ["PEER_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://", 1)


def versions():
    """Return what it is made of."""
    return {name: version(name) for name in ("dbos", "sqlalchemy", "psycopg")}


def tell(**said):
    """Print a line of JSON."""
    sys.stdout.write(json.dumps({"at": time.time()} | said) + "\n")
    sys.stdout.flush()

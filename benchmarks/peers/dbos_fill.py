"""DBOS, `… dbos_fill COUNT STEPS`: enqueues COUNT workflows in one transaction, and says when that was committed."""

import sys

import sqlalchemy
from dbos import DBOSClient

from benchmarks.peers.dbos_app import APP, QUEUE, VERSION, database, tell


def main():
    """Enqueue them; the moment told is that of the commit."""
    count, steps = int(sys.argv[1]), int(sys.argv[2])
    client = DBOSClient(system_database_url=database(), application_name=APP)
    options = {"workflow_name": "steps", "queue_name": QUEUE, "app_version": VERSION}
    with sqlalchemy.create_engine(database()).begin() as connection:
        for _ in range(count):
            client.enqueue_in_transaction(connection, options, steps)
    tell()


if __name__ == "__main__":
    main()

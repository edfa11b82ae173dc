"""Other schedulers, run by the Python of `.venv-bench` as their users would: these modules import nothing of ours.

`python -m benchmarks.peers.NAME COUNT LEAD` stores COUNT entries that are due at one instant, LEAD seconds from now,
and prints JSON: `{"due": seconds since the epoch, "versions": {…}}`. `celery -A benchmarks.peers.NAME beat` runs them.
"""

"""The end of a process that hangs comes in time, whatever it hangs in."""

from __future__ import annotations

import subprocess
import sys

from core import exits
from dev.site import ROOT

HANGS_IN_ITS_LOG = f"""
import logging, threading, time
from vitals import ending

logging.basicConfig()
logging.getLogger().handlers[0].acquire()  # as one is held whose line nobody reads
ending._LAST_SECONDS = 0.5
ending.end_within(0.1, {exits.STUCK}, lambda: "its log")
time.sleep(300)
"""


def test_a_process_that_hangs_in_its_log_is_ended() -> None:
    ended = subprocess.run([sys.executable, "-c", HANGS_IN_ITS_LOG], cwd=ROOT, timeout=120, check=False)
    assert ended.returncode == exits.STUCK

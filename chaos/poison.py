"""A package of poison, laid where workers find it as an installed one: kinds of actions, and a callable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

KILLS: Final = "poison_kills"
SPINS: Final = "poison_spins"
HOARDS: Final = "poison_hoards"
STEP: Final = "chaos.kills"
"""An internal callable that kills the worker's child in which it runs."""
_MODULE: Final = '''
import faulthandler
import os
import resource
import signal
from engine.actions.base import Nothing
from engine.actions.campaign_change import CampaignChange
from engine.callables.base import step


class _Poison(CampaignChange):
    aliases = ()
    idempotent = True

    def validate(self, params, *, spelling, path):
        return {}

    def plan(self, params, campaign, scope):
        self.poison()
        return Nothing()


class Kills(_Poison):
    """Dies as by the kernel's hand, when it has no memory left."""

    name = "poison_kills"

    def poison(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Spins(_Poison):
    """Never returns, whatever it is told: its time limit kills it."""

    name = "poison_spins"

    def poison(self):
        while True:
            try:
                while True:
                    pass
            except BaseException:
                pass


class Hoards(_Poison):
    """Takes more memory than there is, in a library that aborts then."""

    name = "poison_hoards"

    def poison(self):
        faulthandler.disable()
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.getrlimit(resource.RLIMIT_AS)[1]))
        try:
            bytearray(3 << 30)
        except MemoryError:
            os.abort()


@step("chaos.kills", internal=True)
def kills(call):
    """Kill the worker that calls it."""
    os.kill(os.getpid(), signal.SIGKILL)
'''
_ENTRY_POINTS: Final = """
[cmis.actions]
poison_kills = chaos_poison:Kills
poison_spins = chaos_poison:Spins
poison_hoards = chaos_poison:Hoards
[cmis.steps]
chaos.kills = chaos_poison:kills
"""


def lay(place: Path) -> Path:
    """Write the package; returns its directory, for PYTHONPATH."""
    about = place / "chaos_poison-1.0.dist-info"
    about.mkdir(parents=True)
    about.joinpath("METADATA").write_text("Metadata-Version: 2.1\nName: chaos-poison\nVersion: 1.0\n")
    about.joinpath("entry_points.txt").write_text(_ENTRY_POINTS)
    place.joinpath("chaos_poison.py").write_text(_MODULE)
    return place

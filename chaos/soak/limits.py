"""What each quantity may do in the part of a run that is judged; what is named nowhere is shown only."""

from __future__ import annotations

from typing import Final

from chaos.soak.slopes import Limit

_MEMORY: Final = Limit(growth=6.0, share=0.05)
"""MiB for a process: allocators keep what a busy moment needed, so that a step is no leak; a slope is."""
_FILES: Final = Limit(growth=2.0, share=0.05)
_LIMITS: Final = {
    "connections": Limit(growth=2.0, share=0.05),
    "oldest transaction s": Limit(ceiling=10.0),
    "dead rows": Limit(growth=20_000, share=0.5),
    "unfinished tasks": Limit(growth=50, share=0.5),
    "messages waiting": Limit(growth=20, share=0.5),
    "broker keys": Limit(growth=5, share=0.1),
    "broker MiB": Limit(growth=1.0, share=0.1),
}


def limit_of(name: str) -> Limit:
    """Return a quantity's limit. The database's size grows with what happens: retention bounds it, months later."""
    if name in _LIMITS:
        return _LIMITS[name]
    if name.endswith(" files"):
        return _FILES
    return _MEMORY if name.endswith(" MiB") and name != "database MiB" else Limit()

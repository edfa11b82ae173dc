"""`python -m chaos.soak [--minutes N] [--seed N] [--json]`: a soak, on servers of its own.

Exit codes: 0 everything stayed flat and nothing was lost, 1 something did not, or the environment is wrong, 130
interrupted.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from typing import TYPE_CHECKING, Final

from chaos.report import say
from chaos.soak.report import emit, show
from chaos.soak.run import soak
from core.errors import SetupError
from dev.apart import ignored, own_servers
from dev.site import ROOT

if TYPE_CHECKING:
    from collections.abc import Sequence

PLACE: Final = ROOT / ".soak"
EXIT_BROKEN: Final = 1
EXIT_INTERRUPTED: Final = 130
_LEAST: Final = 0.5
_MOST: Final = 24 * 60.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one soak; the exit code."""
    asked = _parser().parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if asked.seed is None else asked.seed
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="soak: %(name)s: %(message)s")
    if names := ignored():
        say(f"{', '.join(names)} not used: a soak starts servers of its own")
    say(f"{asked.minutes:g} minutes, seed {seed}; logs of the processes go to {PLACE / 'logs'}")
    try:
        with own_servers(PLACE, "soak") as made:
            soaked = soak(made, asked.minutes * 60, seed, PLACE / "logs", say)
    except SetupError as error:
        sys.stderr.write(f"error: {error}\n")
        return EXIT_BROKEN
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    (emit if asked.json else show)(soaked)
    return 0 if soaked.flat else EXIT_BROKEN


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos.soak", description="Does what it uses stay as it is?")
    parser.add_argument("--minutes", type=_minutes, default=20.0, help="how long (default: 20)")
    parser.add_argument("--seed", type=int, help="chooses the load (default: any, and it is said)")
    parser.add_argument("--json", action="store_true", help="print one JSON value on stdout; all else on stderr")
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not _LEAST <= minutes <= _MOST:
        raise argparse.ArgumentTypeError(f"{text} is not between {_LEAST:g} and {_MOST:g}")
    return minutes


if __name__ == "__main__":
    sys.exit(main())

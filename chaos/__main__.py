"""`python -m chaos [--only C1,C4] [--seconds N] [--seed N] [--json]`: runs scenarios in turn, on servers of its own.

Exit codes: 0 everything held, 1 something did not, or the environment is wrong, 2 there is no such scenario, 130
interrupted.
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from typing import TYPE_CHECKING, Final

from chaos.report import emit, say, show
from chaos.run import LOGS, PLACE, run
from chaos.scenario import chosen
from core.clock import monotonic
from core.errors import InputError, SetupError
from dev.apart import ignored, own_servers

if TYPE_CHECKING:
    from collections.abc import Sequence

    from chaos.run import Result
    from chaos.scenario import Scenario

EXIT_BROKEN: Final = 1
EXIT_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    asked = _parser().parse_args(arguments)
    seed = random.SystemRandom().getrandbits(32) if asked.seed is None else asked.seed
    try:
        return _run(chosen(asked.only), asked.seconds, seed, as_json=asked.json)
    except InputError as error:
        return _refuse(error, EXIT_INPUT)
    except SetupError as error:
        return _refuse(error, EXIT_BROKEN)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m chaos", description="Faults under load, and what must hold.")
    parser.add_argument("--only", metavar="C1,C4", help="these scenarios (default: all)")
    parser.add_argument("--seconds", type=_seconds, help="how long the faults of each go on (default: its own)")
    parser.add_argument("--seed", type=int, help="chooses load and order of faults (default: any, and it is said)")
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout; all else on stderr")
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3_600:  # noqa: PLR2004 - said in the message
        raise argparse.ArgumentTypeError(f"{text} is not between 1 and 3600")
    return seconds


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return code


def _run(scenarios: Sequence[Scenario], seconds: float | None, seed: int, *, as_json: bool) -> int:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr, format="chaos: %(name)s: %(message)s")
    if names := ignored():
        say(f"{', '.join(names)} not used: chaos starts servers of its own")
    say(f"seed {seed} (--seed {seed} chooses the same load and order of faults, not their moments)")
    say(f"logs of the processes go to {LOGS}")
    begun = monotonic()
    results: list[Result] = []
    with own_servers(PLACE, "chaos run") as made:
        for scenario in scenarios:
            say(f"{scenario.name}: {scenario.title}")
            results.append(run(scenario.name, seconds, seed, made=made))
            _tell(results[-1])
    (emit if as_json else show)(results)
    say(f"{len(scenarios)} scenarios in {monotonic() - begun:.0f} s, seed {seed}")
    return EXIT_BROKEN if any(result.violations for result in results) else 0


def _tell(result: Result) -> None:
    found = result.violations
    name = result.scenario.name
    say(f"{name}: {len(found)} violations, {result.asked} requests, {result.seconds:.0f} s")
    for violation in found:
        say(f"{name}: {violation}")


if __name__ == "__main__":
    sys.exit(main())

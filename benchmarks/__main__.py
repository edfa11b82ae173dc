"""`python -m benchmarks [PART] [--json] [--quick]`: runs one part, or all, each on servers of its own.

Exit codes: 0 all targets met, 1 one is not, or the environment is wrong, 2 there is no such part, 130 interrupted.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from benchmarks.environment import describe
from benchmarks.parts import PARTS, chosen
from benchmarks.report import emit, print_environment, say, show
from benchmarks.rows import missed
from benchmarks.servers import own_servers
from core.clock import monotonic
from core.errors import InputError, SetupError
from dev.apart import ignored

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.parts import Part
    from benchmarks.rows import Row

EXIT_MISSED: Final = 1
EXIT_INPUT: Final = 2
EXIT_INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is asked for; the exit code."""
    asked = _parser().parse_args(arguments)
    try:
        return _run(chosen(asked.part), as_json=asked.json, quick=asked.quick)
    except InputError as error:
        return _refuse(error, EXIT_INPUT)
    except SetupError as error:
        return _refuse(error, EXIT_MISSED)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure, beside other schedulers.")
    parser.add_argument("part", nargs="?", metavar="PART", help=f"one of: {', '.join(PARTS)} (default: all)")
    parser.add_argument("--json", action="store_true", help="print one JSON list on stdout; all else on stderr")
    parser.add_argument("--quick", action="store_true", help="small numbers, to try the benchmark itself")
    return parser


def _refuse(error: Exception, code: int) -> int:
    sys.stderr.write(f"error: {error}\n")
    return code


def _run(parts: dict[str, Part], *, as_json: bool, quick: bool) -> int:
    if names := ignored():
        say(f"{', '.join(names)} not used: a benchmark starts servers of its own")
    documents: list[tuple[Sequence[Row], dict[str, object]]] = []
    for name, part in parts.items():
        documents.append(_measure(name, part, quick=quick, as_json=as_json))
        if not as_json:
            show(documents[-1][0], quick=quick)
    if as_json:
        emit(documents)
    return EXIT_MISSED if any(missed(rows) for rows, _ in documents) else 0


def _measure(name: str, part: Part, *, quick: bool, as_json: bool) -> tuple[Sequence[Row], dict[str, object]]:
    begun = monotonic()
    say(f"{name}: starting servers of its own")
    with own_servers(quick=quick) as bench:
        environment = describe(bench)
        print_environment(environment, sys.stderr if as_json else sys.stdout)
        rows = part(bench)
    seconds = monotonic() - begun
    say(f"{name}: done in {seconds:.0f} s")
    return rows, environment


if __name__ == "__main__":
    sys.exit(main())

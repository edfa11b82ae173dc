"""The rows of this part, in the order in which they are measured."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from benchmarks.rows import Row
from benchmarks.slow_disk import slow_disk
from benchmarks.workflows.chains import Chains
from benchmarks.workflows.dbos import Dbos
from benchmarks.workflows.ours import Ours
from benchmarks.workflows.prefect import Prefect
from benchmarks.workflows.scale import FULL, QUICK, Scale
from benchmarks.workflows.state import State, UnfinishedError
from core.errors import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.servers import Bench
    from benchmarks.workflows.series import Series


def measure(bench: Bench) -> list[Row]:
    """Measure every row. Raises SetupError where we ourselves do not do what is measured."""
    scale = QUICK if bench.quick else FULL
    try:
        return _measure(bench, scale)
    except UnfinishedError as error:
        raise SetupError(f"we ourselves failed: {error}", "run the part again, alone on the machine") from error


def _measure(bench: Bench, scale: Scale) -> list[Row]:
    with bench.empty_database() as database, closing(State(bench.administrator, scale)) as state:
        ours, dbos = Ours(bench, state, scale), Dbos(bench, database, scale)
        chains, prefect = Chains(bench, scale), Prefect(bench, scale)
        for _ in range(scale.rounds):
            ours.run()
            dbos.run()
            ours.run_per_step()
            chains.run()
        with slow_disk(bench.administrator):
            for _ in range(scale.rounds):
                ours.run_slow()
                dbos.run_slow()
        prefect.run()
    return _rows(ours, dbos, chains, prefect, scale)


def _rows(ours: Ours, dbos: Dbos, chains: Chains, prefect: Prefect, scale: Scale) -> list[Row]:
    alone = {"steps": scale.steps}
    together = {"steps": scale.steps, "instances": scale.instances}
    by_dbos, by_prefect = {"peer_versions": dbos.versions}, {"peer_versions": prefect.versions}
    single, single_pools = chains.best_single()
    many, many_pools = chains.best_many()
    return [
        _row("workflows.single_chain", ours.single, single, 0.25, alone | single_pools),
        _row("workflows.single_dbos", ours.single, dbos.single, 0.25, alone | by_dbos),
        _row("workflows.many_dbos", ours.many, dbos.many, 8.0, together | by_dbos),
        _row("workflows.many_chain", ours.many, many, 6.0, together | many_pools),
        _row("workflows.commit_per_step", ours.per_step, dbos.many, 3.0, together | by_dbos),
        _row("workflows.commit_per_step_chain", ours.per_step, many, 2.0, together | many_pools),
        _row("workflows.slow_disk", ours.slow, dbos.slow, 5.0, together | by_dbos),
        _row("workflows.single_prefect", ours.single, prefect.single, None, alone | by_prefect),
    ]


def _row(name: str, ours: Series, peer: Series, target: float | None, details: Mapping[str, Any]) -> Row:
    return Row(
        name=name,
        unit=ours.unit,
        better="lower" if ours.unit == "ms" else "higher",
        value=ours.median,
        baseline=peer.median,
        target=target,
        reason=peer.reason,
        details={"runs": ours.runs, "baseline": peer.name, "baseline_runs": peer.runs, **details},
    )

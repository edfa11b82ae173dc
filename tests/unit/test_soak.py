"""Whether a quantity is flat: by a slope that single readings do not change."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.soak.limits import limit_of
from chaos.soak.slopes import Limit, Point, judge, settled, slope

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

finite = st.floats(min_value=-1e6, max_value=1e6)
slopes = st.floats(min_value=-1e3, max_value=1e3)


def course(value: Callable[[float], float], *, n: int = 40, every: float = 5.0) -> list[Point]:
    return [Point(every * number, value(every * number)) for number in range(n)]


@given(slopes, finite)
def test_the_slope_of_a_line_is_the_lines(a_second: float, start: float) -> None:
    points = course(lambda at: start + a_second * at)
    assert math.isclose(slope(points), a_second, rel_tol=1e-6, abs_tol=1e-6)


@given(slopes, finite, st.randoms(use_true_random=False), finite)
def test_a_fifth_of_the_readings_may_be_anything(
    a_second: float, start: float, chance: random.Random, wrong: float
) -> None:
    points = course(lambda at: start + a_second * at)
    for place in chance.sample(range(len(points)), len(points) // 5):
        points[place] = Point(points[place].at, points[place].value + wrong * chance.random())
    spread = abs(wrong) / (points[-1].at / 2)
    assert abs(slope(points) - a_second) <= spread + 1e-6


@given(st.lists(st.tuples(finite, finite), max_size=20), finite)
def test_the_slope_knows_neither_order_nor_level(readings: list[tuple[float, float]], level: float) -> None:
    points = [Point(at, value) for at, value in readings]
    lifted = [Point(point.at, point.value + round(level)) for point in reversed(points)]
    assert math.isclose(slope(points), slope(lifted), rel_tol=1e-3, abs_tol=1e-3) or _steep(points)


def _steep(points: list[Point]) -> bool:
    """Say whether two moments are so near to each other that rounding decides."""
    moments = sorted(point.at for point in points)
    return any(0 < after - before < 1e-3 for before, after in pairwise(moments))


def test_what_happens_at_first_is_not_judged() -> None:
    points = course(lambda at: 100.0 if at > 30 else at)
    assert [point.value for point in settled(points)] == [100.0] * 24
    assert judge(points, Limit(growth=0.1)).flat


@pytest.mark.parametrize(("a_second", "flat"), [(0.0, True), (0.05, True), (0.2, False), (-5.0, True)])
def test_it_is_flat_as_long_as_it_grows_by_less_than_is_allowed(*, a_second: float, flat: bool) -> None:
    points = course(lambda at: 50 + a_second * at + 3 * math.sin(at))
    judged = judge(points, Limit(growth=15.0))
    assert judged.flat is flat
    assert math.isclose(judged.hourly, a_second * 3600, abs_tol=120)


def test_a_share_of_a_large_quantity_may_be_more_than_its_growth() -> None:
    points = course(lambda at: 1000 + at * 0.2)
    assert not judge(points, Limit(growth=10.0)).flat
    assert judge(points, Limit(growth=10.0, share=0.05)).flat


def test_a_saw_is_flat_and_a_saw_on_a_slope_is_not() -> None:
    teeth = [at % 60 for at in range(0, 200, 5)]
    saw = [Point(5.0 * place, 1000.0 * tooth) for place, tooth in enumerate(teeth)]
    assert judge(saw, limit_of("dead rows")).flat
    rising = [Point(point.at, point.value + 500 * point.at) for point in saw]
    assert not judge(rising, limit_of("dead rows")).flat


def test_a_ceiling_forgives_one_reading_and_not_a_fifth() -> None:
    once = [Point(5.0 * place, 90.0 if place == 30 else 1.0) for place in range(40)]
    often = [Point(5.0 * place, 90.0 if place % 5 == 0 else 1.0) for place in range(40)]
    limit = limit_of("oldest transaction s")
    assert (judge(once, limit).flat, judge(often, limit).flat) == (True, False)


def test_too_few_readings_prove_nothing() -> None:
    few = course(lambda _: 1.0, n=5)
    assert not judge(few, Limit(growth=1.0)).flat
    assert judge(few, Limit()).flat
    assert not judge([], Limit(ceiling=1.0)).flat
    assert slope([]) == slope([Point(1.0, 1.0), Point(1.0, 2.0)]) == 0.0


@pytest.mark.parametrize(
    ("name", "judged"),
    [("worker MiB", True), ("scheduler files", True), ("broker keys", True), ("database MiB", False), ("new", False)],
)
def test_each_quantity_has_its_limit(*, name: str, judged: bool) -> None:
    limit = limit_of(name)
    assert (limit.growth is not None or limit.ceiling is not None) is judged

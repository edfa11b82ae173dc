"""The demo's metrics as exports of different tools: each org's file in another dialect that `metrics import` reads.

The file's name and its first line say that the data is synthetic.
"""

from __future__ import annotations

import csv
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from dev.demo_data import DemoOrg, Dialect, Metric

    Rows = Callable[[Metric, Mapping[str, str], Mapping[str, str]], Iterator[list[object]]]

_NOTE: Final = "# Synthetic data of the CMIS demo (dev/demo_data.py): no real advertiser, no real spend\n"
_CENT: Final = Decimal("0.01")


def _meta(metric: Metric, names: Mapping[str, str], _platforms: Mapping[str, str]) -> Iterator[list[object]]:
    """As Ads Manager exports with a breakdown by day."""
    yield [
        names[metric.campaign], metric.campaign, metric.day.isoformat(), metric.spend, metric.impressions,
        metric.clicks, metric.conversions, metric.revenue, metric.day.isoformat(), metric.day.isoformat(),
    ]  # fmt: skip


def _european(metric: Metric, names: Mapping[str, str], platforms: Mapping[str, str]) -> Iterator[list[object]]:
    """Semicolons, dotted day-first dates, decimal commas, thousands points."""
    yield [
        metric.campaign, names[metric.campaign], platforms[metric.campaign], f"{metric.day:%d.%m.%Y}",
        _comma(metric.impressions), _comma(metric.clicks), f"{_comma(metric.spend)} €", _comma(metric.conversions),
        f"{_comma(metric.revenue)} €",
    ]  # fmt: skip


def _indian(metric: Metric, names: Mapping[str, str], platforms: Mapping[str, str]) -> Iterator[list[object]]:
    """Two ads a campaign and day, to be summed; day-first dates, lakh grouping, the rupee sign."""
    first = (
        metric.impressions // 2, metric.clicks // 2, (metric.spend / 2).quantize(_CENT), metric.conversions // 2,
        (metric.revenue / 2).quantize(_CENT),
    )  # fmt: skip
    second = (
        metric.impressions - first[0], metric.clicks - first[1], metric.spend - first[2],
        metric.conversions - first[3], metric.revenue - first[4],
    )  # fmt: skip
    for ad, (impressions, clicks, spend, conversions, revenue) in enumerate((first, second), 1):
        yield [
            metric.campaign, names[metric.campaign], f"Ad {ad}", platforms[metric.campaign],
            f"{metric.day:%d-%m-%Y}", lakh(impressions), lakh(clicks), f"₹{lakh(spend)}", conversions,
            f"₹{lakh(revenue)}",
        ]  # fmt: skip


def lakh(value: Decimal | int) -> str:
    """Return a number with Indian grouping: 12,34,567.50."""
    whole, point, fraction = str(value).partition(".")
    head, last = whole[:-3], whole[-3:]
    pairs = [head[max(end - 2, 0) : end] for end in range(len(head), 0, -2)][::-1]
    return ",".join([*pairs, last]) + point + fraction


def _comma(value: Decimal | int) -> str:
    return f"{value:,}".translate(str.maketrans(",.", ".,"))


_DIALECTS: Final[Mapping[Dialect, tuple[str, Rows, Sequence[str]]]] = {
    "meta": (",", _meta, (
        "Campaign name", "Campaign ID", "Day", "Amount spent (USD)", "Impressions", "Link clicks", "Results",
        "Purchases conversion value", "Reporting starts", "Reporting ends",
    )),
    "european": (";", _european, (
        "campaign", "campaign name", "platform", "date", "impressions", "clicks", "cost", "conversions", "revenue",
    )),
    "indian": (",", _indian, (
        "Campaign ID", "Campaign name", "Ad", "Platform", "Date", "Impressions", "Clicks", "Spend", "Conversions",
        "Revenue",
    )),
}  # fmt: skip


def write_csv(org: DemoOrg, directory: Path) -> Path:
    """Write the org's metrics into `directory` and return the file's path."""
    path = directory / f"synthetic_{org.currency.lower()}_{org.dialect}.csv"
    delimiter, rows, heading = _DIALECTS[org.dialect]
    names = {str(campaign["external_id"]): str(campaign["name"]) for campaign in org.campaigns}
    platforms = {str(campaign["external_id"]): str(campaign["platform"]) for campaign in org.campaigns}
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(_NOTE)
        writer = csv.writer(file, delimiter=delimiter, lineterminator="\n")
        writer.writerow(heading)
        for metric in org.metrics:
            writer.writerows(rows(metric, names, platforms))
    return path

"""What exports call their columns, and whose export a heading shows it to be.

Headings are compared without case; `_`, `-`, spaces and the dots of an API's field names (`metrics.clicks`) are the
same. Names of one tier mean the same thing, so two of them in one file are ambiguous; an earlier tier is preferred to
a later one. Google Ads writes its headings in the user's language: English, German, Spanish and French are known.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Container, Mapping, Sequence

TIERS: Final[Mapping[str, Sequence[frozenset[str]]]] = {
    "campaign": [
        frozenset({
            "campaign id", "kampagnen id", "id de campaña", "id de la campaña", "id de campagne", "id de la campagne",
            "identifiant de campagne",
        }),
        frozenset({"campaign", "kampagne", "campaña", "campagne"}),
        frozenset({"campaign name"}),
    ],
    "campaign_name": [frozenset({"campaign name"}), frozenset({"campaign", "kampagne", "campaña", "campagne"})],
    "date": [
        frozenset({"date", "day", "segments date"}),
        frozenset({"reporting starts"}),
        frozenset({"tag", "día", "jour"}),  # last: an English export may have a column of tags
    ],
    "impressions": [frozenset({"impressions", "impr.", "metrics impressions", "impressionen", "impresiones"})],
    "clicks": [
        frozenset({"link clicks"}),
        frozenset({"clicks", "metrics clicks", "klicks", "clics"}),
        frozenset({"clicks (all)"}),
    ],
    "spend": [
        frozenset({"spend", "spent", "cost", "amount spent", "kosten", "coste", "costo", "coût"}),
        frozenset({"cost micros", "metrics cost micros", "metrics costmicros"}),
    ],
    "conversions": [
        frozenset({"conversions", "metrics conversions", "conversiones"}),
        frozenset({"results"}),
        frozenset({"purchases"}),
    ],
    "revenue": [
        frozenset({
            "revenue", "conversion value", "purchases conversion value", "conv. value", "conversions value",
            "metrics conversions value", "metrics conversionsvalue", "conv. wert", "valor conv.", "valor de conv.",
            "valeur conv.", "valeur de conv.",
        })
    ],
    "platform": [frozenset({"platform"})],
    "objective": [frozenset({"objective"})],
    "currency": [
        frozenset({
            "currency", "currency code", "account currency", "customer currency code", "customer currencycode",
            "währungscode", "código de moneda", "code de devise", "code de la devise",
        })
    ],
}  # fmt: skip
PERIOD_START: Final = "reporting starts"
PERIOD_END: Final = "reporting ends"
_KNOWN: Final = frozenset(name for tiers in TIERS.values() for tier in tiers for name in tier)
_SEPARATORS: Final = re.compile(r"(?:[_\-\s]|(?<=\w)\.(?=\w))+")


@dataclass(frozen=True, slots=True)
class Preset:
    """An ad platform's exports: its `name`, the `platform` of their campaigns, and the headings that show it.

    Each of `signs` suffices if the file has all of it. `placement` says that a platform column is not the ad platform
    but where the ads were shown.
    """

    name: str
    platform: str
    signs: Sequence[frozenset[str]] = ()
    placement: bool = False


GENERIC: Final = Preset("generic", "generic")
_GOOGLE_API: Final = (
    "segments date", "metrics impressions", "metrics clicks", "metrics conversions", "metrics cost micros",
    "metrics costmicros", "metrics conversions value", "metrics conversionsvalue", "cost micros",
)  # fmt: skip
# Microsoft Advertising writes `Impr.`, too, but `Spend` where Google Ads writes `Cost`.
_GOOGLE_PAGES: Final = tuple({"impr.", cost} for cost in ("cost", "kosten", "coste", "costo", "coût"))
_GOOGLE_VALUES: Final = (
    "conv. value", "conv. wert", "valor conv.", "valor de conv.", "valeur conv.", "valeur de conv."
)  # fmt: skip
PRESETS: Final[Mapping[str, Preset]] = {
    preset.name: preset
    for preset in (
        Preset(
            "meta_ads", "meta", [frozenset({"amount spent"}), frozenset({PERIOD_START, PERIOD_END})], placement=True
        ),
        Preset(
            "google_ads",
            "google",
            [*map(frozenset, _GOOGLE_PAGES), *(frozenset({name}) for name in (*_GOOGLE_VALUES, *_GOOGLE_API))],
        ),
        GENERIC,
    )
}


def recognise(names: Container[str]) -> Preset:
    """Return whose export has these comparable headings: generic where no platform's signs are among them, or two's."""
    found = [preset for preset in PRESETS.values() if any(all(name in names for name in sign) for sign in preset.signs)]
    return found[0] if len(found) == 1 else GENERIC


def comparable(heading: str) -> str:
    """Return a heading in the form in which headings are compared."""
    return _SEPARATORS.sub(" ", unicodedata.normalize("NFC", heading)).strip().casefold()


def is_known(name: str) -> bool:
    """Say whether a comparable heading is known to hold a field."""
    return name in _KNOWN


def in_micros(name: str) -> bool:
    """Say whether a comparable heading announces millionths of the currency's unit, as the Google Ads API reports."""
    return name.endswith("micros")

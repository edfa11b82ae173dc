"""Numbers as exports write them: decimal comma or point, thousands separators, currency signs.

The decimal mark is decided once per file from every number in it. A cell is read under both conventions; a cell that
only one of them allows is evidence, one that both allow with different values (`1.234`) is ambiguous.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Final

from core.errors import InputError
from engine.imports.cells import CellError, quoted

LIMIT: Final = Decimal(10) ** 12
"""No metric of a row or of a campaign-day may reach this (the columns hold twelve digits before the point)."""
_LENGTH: Final = 48
_MICROS: Final = 6


class DecimalMark(StrEnum):
    """What separates the whole part from the fraction in one file."""

    POINT = "point"
    COMMA = "comma"


class Kind(StrEnum):
    """What a number counts: whole things, things that may be shared (attributed conversions), money, or its millionths.

    Micros are whole, as the Google Ads API writes amounts: 1500000 is 1.5 in the currency's unit.
    """

    COUNT = "count"
    AMOUNT = "amount"
    MONEY = "money"
    MICROS = "micros"


KINDS: Final = {
    "impressions": Kind.COUNT,
    "clicks": Kind.COUNT,
    "spend": Kind.MONEY,
    "conversions": Kind.AMOUNT,
    "revenue": Kind.MONEY,
}
_WHOLE: Final = frozenset({Kind.COUNT, Kind.MICROS})

_SIGNS: Final = {
    "€": "EUR",
    "£": "GBP",
    "₹": "INR",
    "₺": "TRY",
    "₩": "KRW",
    "₪": "ILS",
    "ZŁ": "PLN",
    "US$": "USD",
    "R$": "BRL",
}
_SPACES: Final = str.maketrans("\u00a0\u202f\u2009\u2019\u2212", "   '-")
_CURRENCY: Final = r"(?P<sign>(?:[A-Za-zŁł]{1,3}\.?\s?)?[$£¥€¤฿₠-₿]|[A-Za-zŁł]{1,3}\.?)"
_HEAD: Final = re.compile(rf"(?P<before>[(+-]*)\s*{_CURRENCY}\s*(?P<after>[+-]?)")
_TAIL: Final = re.compile(rf"(?<=[0-9.,])\s*{_CURRENCY}(?P<close>\)?)$")


def _grammar(mark: str, group: str) -> re.Pattern[str]:
    mark, group = re.escape(mark), re.escape(group)
    # groups of two digits before the last three are the Indian system: 12,34,567
    grouped = rf"[1-9][0-9]{{0,2}}(?:{group}[0-9]{{2,3}})*{group}[0-9]{{3}}"
    spaced = r"[1-9][0-9]{0,2}(?:[ '][0-9]{3})+"
    return re.compile(
        rf"(?P<whole>{grouped}|{spaced}|[0-9]+)?(?:{mark}(?P<fraction>[0-9]+))?(?:[eE](?P<exponent>[+-]?[0-9]{{1,2}}))?"
    )


_GRAMMARS: Final = {DecimalMark.POINT: _grammar(".", ","), DecimalMark.COMMA: _grammar(",", ".")}
_PLAIN: Final = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,15})?")
_NOT_DIGITS: Final = re.compile(r"[^0-9]")


@dataclass(frozen=True, slots=True)
class Money:
    """An amount and the currency its cell names: an ISO code, an ambiguous sign such as `$`, or None."""

    amount: Decimal
    currency: str | None


def parse(text: str, kind: Kind, mark: DecimalMark) -> Money:
    """Read one stripped, non-blank cell under the file's convention; micros become the currency's unit.

    Raises CellError where it is no number, negative, not finite, not whole though it counts, or absurdly large.
    """
    if mark is DecimalMark.POINT and _PLAIN.fullmatch(text):  # nearly every cell of most files
        return Money(_amount(Decimal(text), text, kind), None)
    if text.lstrip("+-").casefold() in {"nan", "inf", "infinity"}:
        raise CellError(f"{quoted(text)} is not a finite number")
    body, currency = _without_currency(text.translate(_SPACES), kind)
    negative = body.startswith("-") or (body.startswith("(") and body.endswith(")"))
    value = _read(body.strip("()").lstrip("+-").strip(), mark)
    if value is None:
        raise CellError(f"{quoted(text)} is not a number with a decimal {mark}")
    if negative and value != 0:
        raise CellError(f"{quoted(text)} is negative")
    return Money(_amount(value, text, kind), currency)


def readings(text: str, kind: Kind) -> dict[DecimalMark, Decimal]:
    """Return what a cell means under each convention that allows it; what counts whole things has no fraction."""
    body, _ = _without_currency(text.translate(_SPACES), kind)
    body = body.strip("()").lstrip("+-").strip()
    found = {mark: _read(body, mark) for mark in DecimalMark}
    return {
        mark: value
        for mark, value in found.items()
        if value is not None and (kind not in _WHOLE or value == value.to_integral_value())
    }


@dataclass(slots=True)
class NumberSurvey:
    """Evidence for the file's decimal mark: the first cell seen that only one convention allows, and of neither."""

    evidence: dict[DecimalMark, str] = field(default_factory=dict)
    ambiguous: str | None = None

    def add(self, line: int, column: str, text: str, kind: Kind) -> None:
        """Look at one cell."""
        if text.isdecimal():
            return  # most cells; no separator, no evidence
        if kind not in _WHOLE and DecimalMark.POINT in self.evidence and _PLAIN.fullmatch(text):
            return  # agrees with what is known
        values = readings(text, kind)
        seen = f"line {line}, {column}: {quoted(text)}"
        if len(values) == 1:
            self.evidence.setdefault(next(iter(values)), seen)
        elif len(set(values.values())) > 1 and self.ambiguous is None:
            self.ambiguous = seen

    def decide(self, forced: DecimalMark | None) -> DecimalMark:
        """Return the file's decimal mark; `forced` wins. InputError where the file contradicts itself or is silent."""
        if forced is not None:
            return forced
        remedy = "say which with --decimal point or --decimal comma"
        if len(self.evidence) > 1:
            seen = " but ".join(f"a decimal {mark} ({cell})" for mark, cell in sorted(self.evidence.items()))
            raise InputError.of("file", f"numbers contradict each other: {seen}", remedy)
        if not self.evidence and self.ambiguous:
            message = f"numbers are ambiguous: {self.ambiguous} may have a decimal mark or a thousands separator"
            raise InputError.of("file", message, remedy)
        return next(iter(self.evidence), DecimalMark.POINT)


def iso_currency(sign: str | None) -> str | None:
    """Return the ISO 4217 code of a code or of a sign that means one currency only, else None."""
    if sign is None:
        return None
    code = _SIGNS.get(sign, sign)
    return code if len(code) == 3 and code.isascii() and code.isalpha() else None  # noqa: PLR2004 - ISO 4217 alphabetic


def _amount(value: Decimal, text: str, kind: Kind) -> Decimal:
    """Return what a number amounts to; CellError where it cannot be."""
    if kind in _WHOLE and value != value.to_integral_value():
        raise CellError(f"{quoted(text)} is not a whole number")
    if kind is Kind.MICROS:
        value = value.scaleb(-_MICROS)
    if value >= LIMIT:
        raise CellError(f"{quoted(text)} is too large: a metric must be below {LIMIT:,}")
    return value


def _read(body: str, mark: DecimalMark) -> Decimal | None:
    match = _GRAMMARS[mark].fullmatch(body) if len(body) <= _LENGTH else None
    if match is None or (match["whole"] is None and match["fraction"] is None):
        return None
    whole = _NOT_DIGITS.sub("", match["whole"] or "0")
    return Decimal(f"{whole}.{match['fraction'] or '0'}E{match['exponent'] or '0'}")


def _without_currency(text: str, kind: Kind) -> tuple[str, str | None]:
    """Split `-US$ 1.50`, `1,50 EUR` or `$5 USD` into the bare number and the currency; counts carry none."""
    if kind is not Kind.MONEY:
        return text, None
    signs = []
    if head := _HEAD.match(text):
        text = head["before"] + head["after"] + text[head.end() :]
        signs.append(head["sign"])
    if tail := _TAIL.search(text):
        text = text[: tail.start()] + tail["close"]
        signs.append(tail["sign"])
    named = [_SIGNS.get(sign.strip().upper(), sign.strip().upper()) for sign in signs]
    return text, next(filter(iso_currency, named), named[0] if named else None)

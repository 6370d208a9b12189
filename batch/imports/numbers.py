"""Numbers as files write them: amounts with signs and thousands, whole numbers with a fraction of nothing.

Never: a number that is rounded or guessed; what is not clear stays text, for the decoder to refuse.
"""

import re
from collections.abc import Iterable
from decimal import Decimal as Exact
from typing import Any

import msgspec

from batch.imports.column_map import ImportRefused
from batch.imports.form import Decimal

_USUAL_SIGNS = ("$", "€", "£")
EXACT_BELOW = 2**53
"""Whole numbers below it are exact as 64-bit floats."""
_CURRENCY = r"(?:[$€£¥₹₽₩₺₫₪฿]|[A-Z]{3}|R\$)"
_is_json_number = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII).fullmatch
_signs = re.compile(
    rf"(?P<open>\()?\s*(?P<first>[-−+])?\s*(?:{_CURRENCY}\s*)?(?P<second>[-−+])?\s*"
    rf"(?P<digits>[0-9](?:[0-9.,'’  ]*[0-9])?)\s*(?:{_CURRENCY})?\s*(?P<close>\))?"
).fullmatch
_grouped = {
    Decimal.POINT: re.compile(r"[0-9]{1,3}(?:[,'’  ][0-9]{3})+(?:\.[0-9]+)?|[0-9]+(?:\.[0-9]+)?").fullmatch,
    Decimal.COMMA: re.compile(r"[0-9]{1,3}(?:[.'’  ][0-9]{3})+(?:,[0-9]+)?|[0-9]+(?:,[0-9]+)?").fullmatch,
}
_groups = str.maketrans("", "", "'’  ")


def number(cell: str) -> Any:
    """A cell of text as the number that it spells, digit by digit; as text if it is none."""
    stripped = cell.strip()
    return msgspec.Raw(stripped.encode()) if _is_json_number(stripped) else cell


def exact_whole(cell: Any) -> Any:
    """A float or a decimal that is a whole number as an integer; anything else as it is."""
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < EXACT_BELOW:
        return int(cell)
    if isinstance(cell, Exact) and cell.is_finite() and cell == cell.to_integral_value():
        return int(cell)
    return cell


def amount(cell: str, decimal: Decimal | None) -> Any:
    """A cell of text as the amount that it spells; as text if it is none, or not clear.

    `decimal`: None reads numbers as JSON writes them, and those with both marks or one that cannot group.
    """
    if decimal is not Decimal.COMMA and _is_json_number(cell.strip()):
        return msgspec.Raw(cell.strip().encode())
    if cell[:1] in _USUAL_SIGNS and decimal is not Decimal.COMMA and _is_json_number(cell[1:]):
        return msgspec.Raw(cell[1:].encode())  # Most cells with a sign, without the long way below.
    found = _signs(cell.strip())
    if found is None or (found["open"] is None) != (found["close"] is None):
        return cell
    if found["first"] and found["second"]:
        return cell
    digits = found["digits"]
    if decimal is None and _is_unclear(digits):
        return cell
    mark = decimal or Decimal.POINT
    if _grouped[mark](digits) is None:
        return cell
    other = "," if mark is Decimal.POINT else "."
    plain = digits.translate(_groups).replace(other, "").replace(mark, ".").lstrip("0")
    plain = plain if plain and plain[0] != "." else f"0{plain}"
    negative = found["open"] is not None or (found["first"] or found["second"]) in ("-", "−")
    return msgspec.Raw(f"{'-' if negative else ''}{plain}".encode())


def _is_unclear(digits: str) -> bool:
    """Whether its only mark could group thousands or begin the fraction."""
    return digits.count(",") == 1 and "." not in digits and len(digits.partition(",")[2]) == 3


_ends_in_comma = re.compile(r"[0-9.'’  ]*[0-9],(?:[0-9]{1,2}|[0-9]{4,})")
_ends_in_point = re.compile(r"[0-9,'’  ]*[0-9]\.(?:[0-9]{1,2}|[0-9]{4,})")
_both = (
    (re.compile(r"[0-9]{1,3}(?:\.[0-9]{3})+,[0-9]+"), Decimal.COMMA),
    (re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+\.[0-9]+"), Decimal.POINT),
    (re.compile(r"[0-9]{1,3}(?:\.[0-9]{3}){2,}"), Decimal.COMMA),
    (re.compile(r"[0-9]{1,3}(?:,[0-9]{3}){2,}"), Decimal.POINT),
    (_ends_in_comma, Decimal.COMMA),
    (_ends_in_point, Decimal.POINT),
)


def decimal_of(cells: Iterable[Any]) -> Decimal | None:
    """Which mark these amounts use; None if none of them shows it.

    Raises:
        ImportRefused: some show one, some the other.
    """
    shown: dict[Decimal, str] = {}
    for cell in cells:
        found = _signs(cell.strip()) if isinstance(cell, str) else None
        if found is None:
            continue
        for form, mark in _both:
            if form.fullmatch(found["digits"]):
                shown.setdefault(mark, cell.strip())
                break
    if len(shown) > 1:
        raise ImportRefused(
            f"amounts are written as {shown[Decimal.POINT]!r} and as {shown[Decimal.COMMA]!r}: say by "
            "--decimal . or --decimal , which mark begins the fraction"
        )
    return next(iter(shown), None)

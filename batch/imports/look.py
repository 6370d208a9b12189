"""The first rows of a file, before it is imported: how amounts are written, what users are, what rows say.

Never: a write; more than the first rows.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from batch.imports.column_map import ImportRefused, printable
from batch.imports.form import Form
from batch.imports.layout import Layout
from batch.imports.numbers import decimal_of
from batch.imports.part import Judge
from batch.imports.refused_words import value_of
from batch.imports.rows import Chunk
from batch.imports.sources import CHUNK_ROWS, FileFormat, Source, open_source
from batch.ingest.columns import OUTCOME
from ray_fraud.domain.masking import LONGEST_RUN, SHORTEST_RUN, luhn_valid

LOOKED_AT = 1_000
SHOWN_ROWS = 10
CARD_SHARE = 0.5
"""One of ten random numbers has a valid Luhn sum, so half of a column means cards."""


class Prepared(msgspec.Struct, frozen=True):
    """A file that is understood."""

    source: Source
    form: Form
    """With what was found out."""


def prepare(
    file: Path,
    file_format: FileFormat,
    layout: Layout,
    *,
    also: Sequence[str] = (),
    chunk_rows: int = CHUNK_ROWS,
) -> Prepared:
    """The file, its form settled by its first rows, which a later run finds again.

    Raises:
        ImportRefused: as `open_source`; or user ids are card numbers, or amounts are written in two ways.
    """
    form = layout.form
    source = open_source(file, file_format, layout.mapping, LOOKED_AT, also, form)
    first = next(iter(source.chunks(0)), None)
    column = source.columns.columns.get("amount")
    if (
        first is not None
        and form.decimal is None
        and column is not None
        and file_format is not FileFormat.JSONL
    ):
        form = msgspec.structs.replace(form, decimal=decimal_of(first.rows.cells(column)))
        if form.decimal == ".":
            form = layout.form  # What is read without being told.
    if first is not None and not form.hash_user:
        _refuse_cards(first)
    return Prepared(open_source(file, file_format, layout.mapping, chunk_rows, also, form), form)


def _refuse_cards(first: Chunk) -> None:
    ids = [value_of(value, "user_id") for value in first.rows.values() if isinstance(value, bytes)]
    there = [str(each) for each in ids if each is not None]
    cards = sum(map(_is_card, there))
    if there and cards > CARD_SHARE * len(there):
        raise ImportRefused(
            f"user_id: {cards:,} of the first {len(there):,} are card numbers, which must not be stored; add "
            "--hash-user, or map another column"
        )


def _is_card(text: str) -> bool:
    digits = text.replace(" ", "").replace("-", "")
    return (
        digits.isdecimal()
        and digits.isascii()
        and SHORTEST_RUN <= len(digits) <= LONGEST_RUN
        and luhn_valid(digits)
    )


class Shown(msgspec.Struct, frozen=True):
    """One row as it would be read."""

    row: int
    values: dict[str, Any]
    """By column of the table; empty if it is refused."""
    refused: str | None = None


class Look(msgspec.Struct, frozen=True):
    """What an import would do with the first rows."""

    rows: int
    accepted: int
    rejected: dict[str, int]
    shown: list[Shown]


_SHOWN = (
    "transaction_id", "user_id", "amount", "event_time", "merchant_id", "device_id", "currency", "channel",
    "lat", "lon", "city", "country", "card_last4",
)  # fmt: skip


def look(prepared: Prepared, judge: Judge) -> Look:
    """The first rows, judged. Raises ImportRefused if the file cannot be read."""
    chunk = next(iter(prepared.source.chunks(0)), None)
    if chunk is None:
        return Look(0, 0, {}, [])
    table, refused = judge.judge(chunk)
    accepted = table.filter(table[OUTCOME].is_null()).select(["offset", *_SHOWN])
    shown = [
        Shown(row.pop("offset"), {name: _plain(value) for name, value in row.items() if value is not None})
        for row in accepted.slice(0, SHOWN_ROWS).to_pylist()
    ]
    shown += [Shown(each.row, {}, printable(each.reason)) for each in refused[:SHOWN_ROWS]]
    codes: dict[str, int] = {}
    for each in refused:
        codes[each.code] = codes.get(each.code, 0) + 1
    return Look(
        accepted.num_rows + len(refused),
        accepted.num_rows,
        dict(sorted(codes.items())),
        sorted(shown, key=lambda each: each.row)[:SHOWN_ROWS],
    )


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float) else printable(str(value))

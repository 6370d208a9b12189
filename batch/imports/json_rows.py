"""JSON lines as the contract's JSON.

A line that is a record value already is passed on byte for byte. Others are written anew with the contract's
names and forms; members that are given twice stay so, for the decoder to refuse.

Never: I/O; a number that is rounded on its way.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import msgspec

from batch.imports.column_map import LOCATION, PLACE_FIELDS, ROW, TEXT_FIELDS, ColumnMap
from batch.imports.form import PLAIN, Form
from batch.imports.masked import masked
from batch.imports.rows import Value
from batch.imports.user_ids import PLAIN_IDS, UserIds
from batch.imports.values import CellForms
from ray_fraud.domain.contract import MAX_VALUE_BYTES

_parse = msgspec.json.Decoder().decode
_TEXTS = tuple(TEXT_FIELDS - set(PLACE_FIELDS))


class _Literal(str):
    """A number, or what Python takes for one, as it is written."""

    __slots__ = ()


class _Members(list[tuple[str, Any]]):
    """An object's members in order, repeated ones too."""


@dataclass(frozen=True)
class JsonRows:
    """See `Rows`; lines without their ends."""

    lines: Sequence[bytes]
    columns: ColumnMap
    form: Form = PLAIN
    first_row: int = 0

    def values(self, user_ids: UserIds = PLAIN_IDS) -> list[Value]:
        forms = CellForms(self.form, user_ids)
        return [self._value(line, row, forms) for row, line in enumerate(self.lines, self.first_row)]

    def cells(self, column: str) -> list[Any]:
        return [_cell(line, column) for line in self.lines]

    def _value(self, line: bytes, row: int, forms: CellForms) -> Value:
        if not line.strip():
            return None
        if len(line) > MAX_VALUE_BYTES or (self._is_as_it_is and _is_a_value(line)):
            return line
        members = _members_of(line)
        try:
            # What cannot be read is refused by the decoder, for a reason of its own.
            return line if members is None else self._rewritten(members, row, forms)
        except RecursionError:
            return line

    @cached_property
    def _is_as_it_is(self) -> bool:
        return not self.columns.renamed and self.form.is_plain

    def _rewritten(self, members: _Members, row: int, forms: CellForms) -> bytes:
        found = [
            (field, self._formed(field, value, forms))
            for name, value in members
            for field in self._fields.get(name, ())
        ]
        for field, parts in self.columns.joined.items():
            cells = dict(members)
            made = forms.joined(field, [_plain(cells.get(part)) for part in parts])
            found += [] if made is None else [(field, _literal(made))]
        for field, text in ((field, text) for field, text in self.columns.made.items() if text):
            found.append((field, _literal(forms.of(field)(text.replace(ROW, str(row))))))
        top = [(field, value) for field, value in found if field not in PLACE_FIELDS]
        place = [(field, value) for field, value in found if field in PLACE_FIELDS]
        if not any(field == LOCATION and value is not None for field, value in top) and any(
            field in ("lat", "lon") and value is not None for field, value in place
        ):
            top = [pair for pair in top if pair[0] != LOCATION]
            top.append((LOCATION, _Members(place)))
        return _written(_Members(top)).encode("utf-8", "surrogatepass")

    def _formed(self, field: str, value: Any, forms: CellForms) -> Any:
        """A member's value in the contract's form, and else as a record of the topic would have it."""
        if field == "user_id" and self.form.hash_user and isinstance(value, str):
            return _literal(forms.of(field)(str(value)))
        if field == "amount" and self.form.decimal is not None and type(value) is str:
            return _literal(forms.of(field)(value))
        if field == "timestamp" and (
            type(value) is str or (isinstance(value, _Literal) and self.form.is_relative)
        ):
            made = forms.of(field)(str(value))
            return _Literal(repr(made)) if isinstance(made, float) else value
        if isinstance(value, _Literal):
            return str(value) if field in TEXT_FIELDS and value.lstrip("-").isdigit() else value
        return value

    @cached_property
    def _fields(self) -> dict[str, list[str]]:
        """Fields by column: one column may serve several."""
        fields: dict[str, list[str]] = {}
        for field, column in self.columns.columns.items():
            fields.setdefault(column, []).append(field)
        return fields

    def original(self, index: int, value: bytes) -> bytes:
        line = self.lines[index]
        if self.columns.card_column == "card_number" and not self.form.hash_user:
            return masked(line)
        # Masking knows the field by the contract's name, which only a line that could be read has got.
        return masked(value, card_anywhere=value is line)


def keys_of(lines: Sequence[bytes]) -> list[str]:
    """All keys of these lines, in the order of their first appearance; a line that is no object has none."""
    keys: dict[str, None] = {}
    for line in lines:
        keys |= dict.fromkeys(name for name, _ in _members_of(line) or ())
    return list(keys)


def _cell(line: bytes, column: str) -> Any:
    try:
        parsed = _parse(line)
    except (ValueError, RecursionError):
        return None
    return parsed.get(column) if isinstance(parsed, dict) else None


def _is_a_value(line: bytes) -> bool:
    """Whether nothing of the line has to change its form; also if it cannot be read."""
    try:
        parsed = _parse(line)
    except (ValueError, RecursionError):
        return True
    if not isinstance(parsed, dict):
        return True
    if isinstance(parsed.get("timestamp"), str) or any(type(parsed.get(name)) is int for name in _TEXTS):
        return False
    return parsed.get(LOCATION) is not None or not ("lat" in parsed or "lon" in parsed)


def _members_of(line: bytes) -> _Members | None:
    """The members of the object in this line; None if there is none."""
    try:
        parsed = json.loads(
            line.decode(),
            object_pairs_hook=_Members,
            parse_int=_Literal,
            parse_float=_Literal,
            parse_constant=_Literal,
        )
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, _Members) else None


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, _Literal) else value


def _literal(made: Any) -> Any:
    """A number as its digits, a text as it is."""
    if isinstance(made, msgspec.Raw):
        return _Literal(bytes(made).decode())
    return _Literal(repr(made)) if isinstance(made, int | float) else made


def _written(value: Any) -> str:
    if isinstance(value, _Members):
        return "{" + ",".join(f"{json.dumps(name)}:{_written(part)}" for name, part in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, _Literal) else json.dumps(value)

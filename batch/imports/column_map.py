"""Which column of a file is which field of the contract.

A column is called like its field unless a mapping names another one. A mapping may also join columns
(`Year+Month+Day+Time`), put the row's number into a text (`shop7-@row`), or say the same of every row
(`=EUR`). A location is one column with members (`location`) or the flat columns lat, lon, city and country;
flat ones count only if there are lat and lon.

Never: I/O; a value of a row.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

LOCATION = "location"
PLACE_FIELDS = ("lat", "lon", "city", "country")
REQUIRED = ("transaction_id", "user_id", "amount", "timestamp")
FIELDS = (*REQUIRED, "merchant_id", "device_id", "currency", "channel", "card_number")
"""Every field but the location's."""
TEXT_FIELDS = frozenset(FIELDS) - {"user_id", "amount", "timestamp"} | {"city", "country"}
MAPPABLE = (*FIELDS, LOCATION, *PLACE_FIELDS)
FRAUD_FIELD = "fraud"
"""No field of the contract: the label, which backtests read."""
MAX_REFUSED = 0.5
"""Share of refused rows beyond which an import stops, unless told otherwise."""
SHOWN_COLUMNS = 20
SHOWN_CHARACTERS = 200
ROW, JOIN, CONSTANT = "@row", "+", "="


def printable(text: str) -> str:
    """A text of a file for a terminal: what would steer it is spelled out, what is too long is cut."""
    shown = "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)
    return shown if len(shown) <= SHOWN_CHARACTERS else f"{shown[: SHOWN_CHARACTERS - 1]}…"


class ImportRefused(ValueError):
    """The file or the mapping cannot be used as it is. The message, fit for a terminal, says what to do."""

    def __init__(self, message: str) -> None:
        lines = message.split("\n")
        super().__init__("\n".join("".join(map(_shown, line)) for line in lines))


def _shown(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode()


class ColumnMap(msgspec.Struct, frozen=True):
    columns: dict[str, str]
    """Column by field: `FIELDS` first, the location or its members last."""
    joined: dict[str, tuple[str, ...]] = {}
    """Columns by field, of fields that several columns make."""
    made: dict[str, str] = {}
    """Text by field, of fields that no column makes: `@row` in it is the row's number; "" leaves it out."""
    ignored: tuple[str, ...] = ()
    """Columns that are no field's."""

    @property
    def renamed(self) -> bool:
        """Whether any field is not simply the column of its name."""
        return bool(self.joined or self.made) or any(
            field != column for field, column in self.columns.items()
        )

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that are read, each once."""
        joined = (column for columns in self.joined.values() for column in columns)
        return tuple(dict.fromkeys((*self.columns.values(), *joined)))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields that there are, members of the location last."""
        there = {*self.columns, *self.joined, *self.made}
        return tuple(field for field in MAPPABLE if field in there)

    @property
    def card_column(self) -> str | None:
        return self.columns.get("card_number")


def parse_mapping(pairs: Sequence[str]) -> dict[str, str]:
    """The mapping that `FIELD=COLUMN` texts name.

    Raises:
        ImportRefused: another form, an unknown field, or a field twice.
    """
    mapping: dict[str, str] = {}
    for pair in pairs:
        name, separator, column = pair.partition("=")
        field = name.removeprefix(f"{LOCATION}.")
        if not separator or not column:
            raise ImportRefused(f"--map {pair}: give FIELD=COLUMN")
        check_fields({field: column}, f"--map {pair}")
        if field in mapping:
            raise ImportRefused(f"--map {pair}: {field} is mapped to {mapping[field]} already; map it once")
        mapping[field] = column
    if LOCATION in mapping and (flat := [field for field in PLACE_FIELDS if field in mapping]):
        raise ImportRefused(f"--map {LOCATION} and --map {flat[0]} exclude each other: leave one of them out")
    return mapping


def check_fields(mapping: Mapping[str, str], place: str) -> None:
    """Raises ImportRefused if a field is none of the contract's, or a column has no name."""
    for field, column in mapping.items():
        if field not in (*MAPPABLE, FRAUD_FIELD):
            raise ImportRefused(f"{place}: there is no field {field}; fields are {', '.join(MAPPABLE)}")
        if not column:
            raise ImportRefused(f"{place}: {field} has no column; give FIELD=COLUMN")


def described(mapping: Mapping[str, str], form: Sequence[str] = ()) -> str:
    """The mapping as one text, equal for equal mappings: `import amount=A timestamp=B`."""
    return " ".join(
        ["import", *(f"{field}={column}" for field, column in sorted(mapping.items())), *sorted(form)]
    )


class _Specs(NamedTuple):
    plain: dict[str, str]
    joined: dict[str, tuple[str, ...]]
    made: dict[str, str]


def _specs(mapping: Mapping[str, str], available: Sequence[str]) -> _Specs:
    """What each field's text means; a column that is called so goes first."""
    found = _Specs({}, {}, {})
    for field, spec in mapping.items():
        if spec in available:
            found.plain[field] = spec
        elif spec.startswith(CONSTANT):
            found.made[field] = spec.removeprefix(CONSTANT)
        elif ROW in spec:
            found.made[field] = spec
        elif JOIN in spec.strip(JOIN):
            found.joined[field] = tuple(spec.split(JOIN))
        else:
            found.plain[field] = spec
    return found


def map_columns(
    mapping: Mapping[str, str], available: Sequence[str], with_members: Collection[str] = ()
) -> ColumnMap:
    """The columns of a file that names its columns ahead.

    Args:
        mapping: other names than the fields' own.
        available: the file's columns.
        with_members: those of them that could be a `location`.

    Raises:
        ImportRefused: a required or mapped column is missing, or a name that is needed is there twice.
    """
    specs = _specs(mapping, available)
    named = [
        *specs.plain.items(),
        *((field, each) for field, parts in specs.joined.items() for each in parts),
    ]
    for field, column in named:
        if column not in available:
            raise ImportRefused(
                f"--map {field}={column}: the file has no such column; it has {_listed(available)}"
            )
    mapping = specs.plain
    other = {*specs.joined, *specs.made}
    columns = {
        field: mapping.get(field, field)
        for field in FIELDS
        if field not in other and mapping.get(field, field) in available
    }
    if missing := [field for field in REQUIRED if field not in columns and field not in other]:
        raise ImportRefused(_missing(missing, available))
    columns |= _location(mapping, available, with_members, other)
    found = ColumnMap(columns, specs.joined, specs.made)
    for column in found.used:
        if list(available).count(column) > 1:
            raise ImportRefused(f"column {column} is in the file more than once; name each column once")
    ignored = tuple(column for column in available if column not in found.used)
    return msgspec.structs.replace(found, ignored=ignored)


def _location(
    mapping: Mapping[str, str],
    available: Sequence[str],
    with_members: Collection[str],
    other: Collection[str],
) -> dict[str, str]:
    """`other`: fields that no single column makes."""
    flat = {
        field: mapping.get(field, field)
        for field in PLACE_FIELDS
        if field not in other and mapping.get(field, field) in available
    }
    mapped_flat = [field for field in PLACE_FIELDS if field in mapping]
    nested = mapping.get(LOCATION, LOCATION)
    if nested in with_members and not mapped_flat:
        return {LOCATION: nested}
    if LOCATION in mapping:
        raise ImportRefused(
            f"--map {LOCATION}={nested}: this column has no members lat and lon; map lat and lon instead"
        )
    if "lat" in flat and "lon" in flat:
        return flat
    if mapped_flat:
        raise ImportRefused(f"--map {mapped_flat[0]}: a location needs both lat and lon; map them, too")
    return {}


def map_keys(mapping: Mapping[str, str], seen: Sequence[str]) -> ColumnMap:
    """The columns of JSON lines, where each line has its own keys; `seen` are those of the first lines.

    Raises:
        ImportRefused: a required field is in none of the first lines.
    """
    specs = _specs(mapping, seen)
    other = {*specs.joined, *specs.made}
    columns = {field: specs.plain.get(field, field) for field in MAPPABLE if field not in other}
    missing = [field for field in REQUIRED if field in columns and columns[field] not in seen]
    missing += [field for field, parts in specs.joined.items() if not set(parts) <= set(seen)]
    if seen and missing:
        raise ImportRefused(_missing(missing, seen))
    found = ColumnMap(columns, specs.joined, specs.made)
    return msgspec.structs.replace(found, ignored=tuple(key for key in seen if key not in found.used))


def _missing(fields: Sequence[str], available: Sequence[str]) -> str:
    options = " ".join(f"--map {field}=COLUMN" for field in fields)
    return f"no column for {', '.join(fields)}; the file has {_listed(available)}; add {options}"


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:SHOWN_COLUMNS])
    return f"{shown}, …" if len(columns) > SHOWN_COLUMNS else shown or "none"

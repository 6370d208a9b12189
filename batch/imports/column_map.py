"""Which column of a file is which field of the contract.

A column is called like its field unless a mapping names another one. A location is one column with members
(`location`) or the flat columns lat, lon, city and country; flat ones count only if there are lat and lon.

Never: I/O; a value of a row.
"""

from collections.abc import Collection, Mapping, Sequence

import msgspec

LOCATION = "location"
PLACE_FIELDS = ("lat", "lon", "city", "country")
REQUIRED = ("transaction_id", "user_id", "amount", "timestamp")
FIELDS = (*REQUIRED, "merchant_id", "device_id", "currency", "channel", "card_number")
"""Every field but the location's."""
TEXT_FIELDS = frozenset(FIELDS) - {"user_id", "amount", "timestamp"} | {"city", "country"}
MAPPABLE = (*FIELDS, LOCATION, *PLACE_FIELDS)
SHOWN_COLUMNS = 20


class ImportRefused(ValueError):
    """The file or the mapping cannot be used as it is; nothing was written. The message says what to do."""


class ColumnMap(msgspec.Struct, frozen=True):
    columns: dict[str, str]
    """Column by field: `FIELDS` first, the location or its members last."""
    ignored: tuple[str, ...] = ()
    """Columns that are no field's."""

    @property
    def renamed(self) -> bool:
        """Whether any field's column has another name."""
        return any(field != column for field, column in self.columns.items())

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
        if field not in MAPPABLE:
            raise ImportRefused(f"--map {pair}: there is no field {name}; fields are {', '.join(MAPPABLE)}")
        if field in mapping:
            raise ImportRefused(f"--map {pair}: {field} is mapped to {mapping[field]} already; map it once")
        mapping[field] = column
    if LOCATION in mapping and (flat := [field for field in PLACE_FIELDS if field in mapping]):
        raise ImportRefused(f"--map {LOCATION} and --map {flat[0]} exclude each other: leave one of them out")
    return mapping


def described(mapping: Mapping[str, str]) -> str:
    """The mapping as one text, equal for equal mappings: `import amount=A timestamp=B`."""
    return " ".join(["import", *(f"{field}={column}" for field, column in sorted(mapping.items()))])


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
    for field, column in mapping.items():
        if column not in available:
            raise ImportRefused(
                f"--map {field}={column}: the file has no such column; it has {_listed(available)}"
            )
    columns = {field: mapping.get(field, field) for field in FIELDS if mapping.get(field, field) in available}
    if missing := [field for field in REQUIRED if field not in columns]:
        raise ImportRefused(_missing(missing, available))
    columns |= _location(mapping, available, with_members)
    for column in columns.values():
        if list(available).count(column) > 1:
            raise ImportRefused(f"column {column} is in the file more than once; name each column once")
    used = set(columns.values())
    return ColumnMap(columns, tuple(column for column in available if column not in used))


def _location(
    mapping: Mapping[str, str], available: Sequence[str], with_members: Collection[str]
) -> dict[str, str]:
    flat = {
        field: mapping.get(field, field) for field in PLACE_FIELDS if mapping.get(field, field) in available
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
    columns = {field: mapping.get(field, field) for field in MAPPABLE}
    missing = [field for field in REQUIRED if columns[field] not in seen]
    if seen and missing:
        raise ImportRefused(_missing(missing, seen))
    used = set(columns.values())
    return ColumnMap(columns, tuple(key for key in seen if key not in used))


def _missing(fields: Sequence[str], available: Sequence[str]) -> str:
    options = " ".join(f"--map {field}=COLUMN" for field in fields)
    return f"no column for {', '.join(fields)}; the file has {_listed(available)}; add {options}"


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:SHOWN_COLUMNS])
    return f"{shown}, …" if len(columns) > SHOWN_COLUMNS else shown or "none"

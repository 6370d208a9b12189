"""Mappings as files: what the columns of a kind of file are and how its cells are written.

Presets are such files of this package; a mapping of one's own is a TOML or JSON file of the same form:

    [columns]                       # field of the contract = column
    user_id = "CUSTOMER"
    timestamp = "Year+Month+Day+Time"   # several columns: a date and a time
    transaction_id = "shop7-@row"   # made of the row's number
    currency = "=EUR"               # the same in every row
    fraud = "CHARGEBACK"            # the label, for backtests

    [form]                          # see `batch.imports.form`
    decimal = ","

Never: a branch for one data set.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import msgspec

from batch.imports.column_map import FRAUD_FIELD, ImportRefused, check_fields
from batch.imports.form import PLAIN, Form

FOLDER = Path(__file__).parent / "presets"
MOST_BYTES = 1 << 20


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    columns: dict[str, str] = {}
    """Column by field of the contract, and of `fraud`, the label."""
    form: Form = PLAIN
    about: str = ""

    @property
    def mapping(self) -> dict[str, str]:
        """Without the label."""
        return {field: column for field, column in self.columns.items() if field != FRAUD_FIELD}

    @property
    def fraud(self) -> str | None:
        return self.columns.get(FRAUD_FIELD)

    @property
    def form_told(self) -> dict[str, object]:
        """What its form says, without the defaults."""
        told: dict[str, object] = msgspec.to_builtins(self.form)
        return told

    def under(self, columns: Mapping[str, str], form: Mapping[str, object]) -> "Layout":
        """With what goes before it. Raises ImportRefused if that cannot be."""
        told = {name: value for name, value in form.items() if value is not None}
        return Layout(self.columns | dict(columns), _form(msgspec.to_builtins(self.form) | told), self.about)


def _form(told: dict[str, object]) -> Form:
    try:
        return msgspec.convert(told, Form)
    except msgspec.ValidationError as error:
        raise ImportRefused(f"form: {error}") from error


def preset_names() -> list[str]:
    return sorted(file.stem for file in FOLDER.glob("*.toml"))


def preset(name: str) -> Layout:
    """One of `preset_names`."""
    return read_layout(FOLDER / f"{name}.toml")


def read_layout(file: Path) -> Layout:
    """The mapping in a file.

    Raises:
        ImportRefused: it cannot be read, is of another form, or names a field that is none.
    """
    try:
        if file.stat().st_size > MOST_BYTES:
            raise ImportRefused(f"{file}: it is too large for a mapping")
        content = file.read_text(encoding="utf-8")
        told = msgspec.json.decode(content) if file.suffix == ".json" else tomllib.loads(content)
        layout = msgspec.convert(told, Layout)
    except OSError as error:
        raise ImportRefused(f"{file}: {error.strerror or error}") from error
    except (ValueError, msgspec.MsgspecError) as error:
        raise ImportRefused(f"{file}: it is no mapping: {error}") from error
    check_fields(layout.columns, str(file))
    return layout

"""The column that says what was a fraud, and files whose columns are called as in the handbook.

Never: I/O; a label that is guessed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from batch.imports.column_map import ImportRefused

FRAUD_FIELD = "fraud"
LABEL_COLUMNS = ("fraud", "is_fraud", "TX_FRAUD")
"""What the column may be called without a mapping."""
HANDBOOK = {
    "transaction_id": "TRANSACTION_ID",
    "timestamp": "TX_DATETIME",
    "user_id": "CUSTOMER_ID",
    "merchant_id": "TERMINAL_ID",
    "amount": "TX_AMOUNT",
}
"""The names in "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et al. 2022)."""
_FRAUD: dict[Any, bool] = {"1": True, "0": False, "true": True, "false": False}


class LabelledColumns(NamedTuple):
    """Which columns are read."""

    mapping: dict[str, str]
    """Column by field of the contract, where the names differ."""
    label: str


def labelled_columns(
    mapping: Mapping[str, str], fraud: str | None, available: Sequence[str]
) -> LabelledColumns:
    """The mapping, completed by the handbook's names, and the label's column.

    Args:
        mapping: what was asked for; it goes before any name.
        fraud: the label's column, if it was named.
        available: the file's columns.

    Raises:
        ImportRefused: there is no label, or more than one that it could be.
    """
    names = set(available)
    known = {
        field: column
        for field, column in HANDBOOK.items()
        if column in names and field not in names and field not in mapping
    }
    label = fraud or _label(available)
    if label not in names:
        raise ImportRefused(f"--map {FRAUD_FIELD}={label}: the file has no such column")
    return LabelledColumns(known | dict(mapping), label)


def _label(available: Sequence[str]) -> str:
    found = [column for column in LABEL_COLUMNS if column in available]
    if len(found) == 1:
        return found[0]
    if found:
        raise ImportRefused(
            f"columns {' and '.join(found)} could be the label; add --map {FRAUD_FIELD}=COLUMN"
        )
    raise ImportRefused(
        f"no column says what was fraud ({', '.join(LABEL_COLUMNS)}); add --map {FRAUD_FIELD}=COLUMN"
    )


def fraud_of(cell: Any) -> bool | None:
    """What a cell says: 1, 0, true or false, as text, too; an absent one says no fraud; None for all else."""
    if cell is None:
        return False
    if isinstance(cell, bool | int | float):
        return bool(cell) if cell in (0, 1) else None
    return _FRAUD.get(str(cell).strip().lower())

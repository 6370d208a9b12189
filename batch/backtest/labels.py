"""The column that says what was a fraud, and files whose columns are called as in the handbook.

Never: I/O; a label that is guessed.
"""

import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from batch.imports.column_map import FRAUD_FIELD, ImportRefused
from batch.imports.form import PLAIN, Form
from batch.imports.layout import preset

LABEL_COLUMNS = ("fraud", "is_fraud", "TX_FRAUD")
"""What the column may be called without a mapping."""
HANDBOOK = preset("handbook").mapping
"""The names in "Reproducible Machine Learning for Credit Card Fraud Detection" (Le Borgne et al. 2022)."""
_YES = ("1", "true", "t", "yes", "y", "fraud", "fraudulent")
_NO = ("0", "false", "f", "no", "n", "legitimate", "genuine", "normal")


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


class Words:
    """What cells of the label say."""

    def __init__(self, form: Form = PLAIN) -> None:
        """`form` may have words of its own; they go before the usual ones."""
        usual = dict.fromkeys(_YES, True) | dict.fromkeys(_NO, False)
        own = dict.fromkeys(form.fraud_words, True) | dict.fromkeys(form.legitimate_words, False)
        self._words = usual | {word.strip().lower(): fraud for word, fraud in own.items()}

    def of(self, cell: Any) -> bool | None:
        """1 and 0, true and false, yes and no, however written; absent is no fraud; None: all else."""
        if cell is None or cell == "":
            return False
        if isinstance(cell, bool | int | float | Decimal):
            return bool(cell) if cell in (0, 1) else None
        word = str(cell).strip().lower()
        found = self._words.get(word)
        if found is None and (whole := _whole(word)) is not None:
            found = self._words.get(whole[1])
        return found

    @property
    def accepted(self) -> str:
        """For a message."""
        return ", ".join(self._words)


def fraud_of(cell: Any) -> bool | None:
    """What a cell says in the usual words; see `Words.of`."""
    return _USUAL.of(cell)


_whole = re.compile(r"([01])\.0+", re.ASCII).fullmatch
_USUAL = Words()

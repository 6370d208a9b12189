"""One import of verdicts: rows → judged → stored, refused ones to the side file.

A row is its own identity, so an import that was interrupted is simply run again: what is there already stays
the only one.

Never: a position of its own; a row that is neither stored nor in the side file.
"""

from collections.abc import Callable, Iterable
from itertools import islice

import msgspec

from batch.imports.job import Rejections
from batch.imports.masked import masked
from batch.imports.part import Refused
from batch.imports.rows import Unreadable
from batch.verdicts.rows import Defaults, verdict_of
from batch.verdicts.source import SourceRow
from ray_fraud.domain.contract import MAX_VALUE_BYTES
from ray_fraud.domain.rejection import Rejection
from ray_fraud.stores.verdicts.port import NewVerdict, Verdicts

CHUNK_ROWS = 2_000
"""Stored in one transaction."""


class VerdictImportReport(msgspec.Struct):
    """What one run did."""

    rows: int = 0
    """Blank lines left out."""
    added: int = 0
    already_there: int = 0
    rejected: dict[str, int] = {}
    """By code."""


def import_verdicts(
    rows: Iterable[SourceRow],
    verdicts: Verdicts,
    rejections: Rejections,
    import_id: str,
    defaults: Defaults,
    now_ms: int,
    *,
    check_file: Callable[[], None] = lambda: None,
    progress: Callable[[VerdictImportReport], None] = lambda _: None,
) -> VerdictImportReport:
    """Stores the rows that are not there yet.

    Args:
        import_id: of the file's content; lines of the side file carry it.
        now_ms: when the import began, unix milliseconds.
        check_file: called before rows are stored; raises if the file is no longer what it was.
        progress: called after each chunk.

    Raises:
        StoreError, ImportRefused: what was stored before stays; run it again.
    """
    report = VerdictImportReport()
    rejections.keep_below(0)
    reading = iter(rows)
    while chunk := list(islice(reading, CHUNK_ROWS)):
        good: list[NewVerdict] = []
        bad: list[Refused] = []
        for row in chunk:
            judged = _judged(row, defaults, now_ms)
            if isinstance(judged, NewVerdict):
                good.append(judged)
            else:
                bad.append(_refused(import_id, row, judged))
        check_file()
        rejections.add(bad)
        rejections.flush()
        added = verdicts.add(good)
        report.rows += len(chunk)
        report.added += added
        report.already_there += len(good) - added
        for each in bad:
            report.rejected[each.code] = report.rejected.get(each.code, 0) + 1
        progress(report)
    report.rejected = dict(sorted(report.rejected.items()))
    return report


def _judged(row: SourceRow, defaults: Defaults, now_ms: int) -> NewVerdict | Rejection | Unreadable:
    return row.cells if isinstance(row.cells, Unreadable) else verdict_of(row.cells, defaults, now_ms)


def _refused(import_id: str, row: SourceRow, why: Rejection | Unreadable) -> Refused:
    original = masked(row.original)[:MAX_VALUE_BYTES].decode("utf-8", "backslashreplace")
    if isinstance(why, Unreadable):
        return Refused(import_id, row.number, why.code, "", why.reason, original)
    return Refused(import_id, row.number, why.code, why.field, why.message, original)

"""Which files of feature tables nothing can need any more, and removing them.

A partition may be folded again from the oldest offset of its log (whatever state it begins with: what the log
has lost is not folded), and by the cold path from where `ml_features` stands. The tables that its timeline
names there or later are needed. So are the newest, which owners may be about to name in their timelines, and
files that are young: one is in the lake before anything names it. What stays keeps its profiles.

Never: an uncertain removal: if a store does not answer, all files stay.
"""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

import msgspec

from ray_fraud.domain.timeline import ControlEvent, tables_needed
from ray_fraud.stores.errors import StoreDamaged
from ray_fraud.stores.feature_tables.parts import TableReader
from ray_fraud.stores.feature_tables.port import FeatureRefreshes, FeatureTableFiles, TablesMissing


class LeftAlone(Exception):
    """Nobody there could say what is needed, so all files stay; the message says why that is."""


class Reach(msgspec.Struct, frozen=True):
    """How far back a partition may still be folded again."""

    timeline: Sequence[ControlEvent]
    log_start: int | None
    """First offset that its log still has; None: the topic was made again, and this log is gone."""
    position: int | None
    """Where `ml_features` stands; None: it never moved, so all of the partition is still to come."""

    @property
    def oldest(self) -> int:
        folded = self.position or 0
        return folded if self.log_start is None else min(folded, self.log_start)


class FeatureTablesReport(msgspec.Struct, frozen=True):
    """What became of the files."""

    files: int
    """That were there."""
    removed: list[str]
    """Digests; in a dry run: of those that would be."""


def prune_feature_tables(
    files: FeatureTableFiles,
    refreshes: FeatureRefreshes,
    reaches: Callable[[], Sequence[Reach]],
    *,
    retention: timedelta,
    now: float,
    dry_run: bool = False,
) -> FeatureTablesReport:
    """Removes what nothing needs and is older than `retention`. `now`: unix seconds.

    Raises:
        StoreError: some may be removed; the next care goes on.
        TimelineError: a timeline is damaged; nothing was removed.
    """
    # In this order: an event that is written meanwhile names the newest tables, or a file that is young.
    present = files.digests()
    needed = {refreshes.newest()}
    for reach in reaches():
        needed.update(tables_needed(reach.timeline, reach.oldest))
    written_before = now - retention.total_seconds()
    kept = [digest for digest, written in present.items() if written >= written_before or digest in needed]
    needed.update(_profiles_of(files, kept))
    doomed = unneeded(present, needed, written_before)
    if not dry_run:
        for digest in doomed:
            files.remove(digest)
    return FeatureTablesReport(len(present), doomed)


def _profiles_of(files: FeatureTableFiles, digests: Sequence[str]) -> set[str | None]:
    """The files of profiles that these files name."""
    reader = TableReader(files)
    named: set[str | None] = set()
    for digest in digests:
        # A file of profiles names none, and a damaged file neither.
        with contextlib.suppress(StoreDamaged, TablesMissing):
            named.add(reader.risks(digest).facts.profiles)
    return named


def unneeded(present: Mapping[str, float], needed: set[str | None], written_before: float) -> list[str]:
    """Digests that are not needed, of files written before a moment; oldest first."""
    old = [digest for digest, written in present.items() if written < written_before]
    return sorted(set(old) - needed, key=lambda digest: (present[digest], digest))

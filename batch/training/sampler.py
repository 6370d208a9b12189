"""A sample of any number of labelled rows in bounded memory: frauds stay, the rest is drawn and weighted.

    rows in any order → a key for each → those with the lowest keys → weights by day and label

A key is a hash of user and day, so the rows of one card and day stay together, and a sample is the same
whatever the order of the rows (bottom-k sampling; Cohen & Kaplan 2007). Weights are seen / kept of each day
and label: what a day had in all is exact.

Never: a legitimate row in the place of a fraud, unless frauds have half of the room; a clock.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from batch.training.labelled import Bools, Ints, LabelledRows, Rows32
from ray_fraud.domain.features import FEATURE_NAMES
from ray_fraud.domain.windows import DAY_MS

Keys = NDArray[np.uint64]
ALL = np.uint64(0xFFFF_FFFF_FFFF_FFFF)
SLACK = 4
"""Room for a quarter more than is kept: rows are thrown away together, since each time all are looked at."""
_ROW_BITS = np.uint64(20)
"""The lowest bits of a key are the row's own: they divide a card's day only where it lies at the bound."""


class _Kept(NamedTuple):
    features: Rows32
    fraud: Bools
    user_ids: Ints
    event_ms: Ints
    keys: Keys

    def take(self, rows: Bools) -> "_Kept":
        return _Kept(
            self.features[rows],
            self.fraud[rows],
            self.user_ids[rows],
            self.event_ms[rows],
            self.keys[rows],
        )


def keys_of(user_ids: Ints, event_ms: Ints, seed: int) -> Keys:
    """Uniform over 64 bits, by user, UTC day and seed; the lowest bits by event time; shape (n,)."""
    days = (event_ms // DAY_MS).astype(np.uint64)
    card = _mixed(user_ids.astype(np.uint64) + _mixed(days + np.uint64(seed % 2**63)))
    row = _mixed(card + event_ms.astype(np.uint64))
    keys: Keys = (card >> _ROW_BITS << _ROW_BITS) | (row >> (np.uint64(64) - _ROW_BITS))
    return keys


def _mixed(x: Keys) -> Keys:
    """splitmix64's finaliser (Steele, Lea & Flood 2014); overflow is meant."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


class LabelledSample:
    """At most `max_rows` of all rows that are offered, with a quarter more while they come."""

    def __init__(self, max_rows: int, seed: int = 1) -> None:
        if max_rows < 2:
            raise ValueError(f"max_rows: {max_rows}, must be at least 2")
        self._max_rows, self._seed = max_rows, seed
        self._kept: list[_Kept] = []
        self._rows = 0
        self._bounds = {True: ALL, False: ALL}
        """Keys up to it are kept, by label."""
        self._seen: Counter[tuple[int, bool]] = Counter()
        """All rows, by day and label."""

    def offer(self, fraud: Bools, user_ids: Ints, event_ms: Ints, features: Callable[[Ints], Rows32]) -> None:
        """Keeps some of the rows, of any times.

        Args:
            fraud, user_ids, event_ms: shape (n,).
            features: gives those of the rows at these positions, shape (m, len(FEATURES)); called once.
        """
        for label in (True, False):
            days, counts = np.unique(event_ms[fraud == label] // DAY_MS, return_counts=True)
            self._seen.update(
                dict(zip(((day, label) for day in days.tolist()), counts.tolist(), strict=True))
            )
        keys = keys_of(user_ids, event_ms, self._seed)
        chosen = np.flatnonzero(keys <= np.where(fraud, self._bounds[True], self._bounds[False]))
        if not len(chosen):
            return
        part = _Kept(features(chosen), fraud[chosen], user_ids[chosen], event_ms[chosen], keys[chosen])
        self._kept.append(part)
        self._rows += len(chosen)
        if self._rows > self._max_rows + self._max_rows // SLACK:
            self._throw_away()

    def rows(self) -> LabelledRows:
        """The sample, in order of event time; without weights if it has all. It is empty afterwards."""
        self._throw_away()
        kept, self._kept = self._kept, []
        event_ms, users, keys, fraud = (
            np.concatenate([_empty(kind), *(getattr(part, name) for part in kept)])
            for name, kind in (
                ("event_ms", np.int64),
                ("user_ids", np.int64),
                ("keys", np.uint64),
                ("fraud", np.bool_),
            )
        )
        order = np.lexsort((fraud, keys, users, event_ms))
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        features = np.empty((len(order), len(FEATURE_NAMES)), np.float32)
        begin = 0
        kept.reverse()
        while kept:  # one part after the other is let go: they are most of the memory
            part = kept.pop()
            features[place[begin : begin + len(part.keys)]] = part.features
            begin += len(part.keys)
        event_ms, fraud = event_ms[order], fraud[order]
        return LabelledRows(features, fraud, users[order], event_ms, self._weights(event_ms, fraud))

    def _weights(self, event_ms: Ints, fraud: Bools) -> "NDArray[np.float64] | None":
        if self._seen.total() == len(event_ms):
            return None
        strata = event_ms // DAY_MS * 2 + fraud
        known, stratum, kept = np.unique(strata, return_inverse=True, return_counts=True)
        seen = np.array([self._seen[number // 2, bool(number % 2)] for number in known.tolist()], np.float64)
        weights: NDArray[np.float64] = (seen / kept)[stratum]
        return weights

    def _throw_away(self) -> None:
        """Down to `max_rows`: frauds beyond half of them, and legitimate rows beyond what frauds leave."""
        frauds = sum(int(part.fraud.sum()) for part in self._kept)
        # Neither bound is ever lower than at the end, so nothing is missed that belongs to the sample then.
        legitimate = min(self._rows - frauds, self._max_rows - min(frauds, self._max_rows // 2))
        for label, most in ((True, self._max_rows - legitimate), (False, legitimate)):
            keys = np.concatenate(
                [_empty(np.uint64), *(part.keys[part.fraud == label] for part in self._kept)]
            )
            if len(keys) > most:
                # The highest key goes with all that share it: only the same row twice does.
                self._bounds[label] = np.partition(keys, most)[most] - np.uint64(1)
        self._kept = [part.take(self._within(part)) for part in self._kept]
        self._kept = _together([part for part in self._kept if len(part.keys)])
        self._rows = sum(len(part.keys) for part in self._kept)

    def _within(self, part: _Kept) -> Bools:
        within: Bools = part.keys <= np.where(part.fraud, self._bounds[True], self._bounds[False])
        return within


def as_they_come(rows: LabelledRows, seed: int) -> LabelledRows:
    """Rows of a sample in the shares of all rows: each one's chance is its weight among the greatest."""
    if rows.weights is None or not len(rows):
        return rows
    greatest = rows.weights.max()
    # By card and day, so that what was kept of one stays together.
    drawn = keys_of(rows.user_ids, rows.event_ms, seed + 1) / 2.0**64
    chosen = rows.take(drawn * greatest < rows.weights)
    return replace(chosen, weights=np.full(len(chosen), greatest))


def _together(parts: list[_Kept], least_rows: int = 65_536) -> list[_Kept]:
    """Fewer and larger parts: a part of a few rows costs more than its rows."""
    found: list[_Kept] = []
    waiting: list[_Kept] = []
    for part in parts:
        waiting.append(part)
        if sum(len(each.keys) for each in waiting) >= least_rows:
            found.append(_Kept(*map(np.concatenate, zip(*waiting, strict=True))))
            waiting = []
    if waiting:
        found.append(_Kept(*map(np.concatenate, zip(*waiting, strict=True))))
    return found


def _empty(kind: type) -> "NDArray[np.generic]":
    return np.empty(0, kind)

"""New feature tables, when there is something new: a verdict, a completed day, or an hour of event time.

    newest tables + verdicts + lake → tables → files → offer to the owners → published

Verdicts are looked for every few seconds and profiles are kept then; the schedule's batches also see to
profiles and to labels that mature.

Never: tables that differ from the newest in nothing; a publication before the files are in the lake.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec
import numpy as np

from batch.features.config import FeatureConfig
from batch.features.merchants import COLUMNS as MERCHANT_COLUMNS
from batch.features.merchants import Key, merchant_history, places_of
from batch.features.profiles import COLUMNS, profiles_of
from ray_fraud.domain.feature_tables import FeatureTables, MerchantTable, ProfileTable, UserRiskTable
from ray_fraud.domain.merchant_history import LONG_DAYS, user_risk
from ray_fraud.domain.verdicts import Verdict, labels_at
from ray_fraud.domain.windows import DAY_MS
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.feature_tables.encoding import TableFacts
from ray_fraud.stores.feature_tables.parts import Parts, TableReader, put_tables
from ray_fraud.stores.feature_tables.port import FeatureRefreshes, FeatureTableFiles
from ray_fraud.stores.verdicts.port import Verdicts

logger = logging.getLogger(__name__)

VERDICTS_READ = 10_000
"""At a time."""


class RefreshReport(msgspec.Struct):
    """What became of the feature tables."""

    digest: str | None = None
    """Of the newest tables; None: there are none yet."""
    refreshed: bool = False
    merchants: int = 0
    """With a known fraud."""
    users: int = 0
    """With a known fraud."""
    profiles: int = 0


class Days(Protocol):
    """The days of the lake."""

    def newest_ms(self) -> int | None:
        """Time of the newest event, unix milliseconds; None for an empty lake."""

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> object:
        """Rows of `[from_day, until_day)` as something of Arrow that DuckDB reads."""


class _Present(msgspec.Struct, frozen=True):
    tables: FeatureTables
    facts: TableFacts


class Refresher:
    """Makes and publishes feature tables; safe from several threads, which wait for each other.

    It keeps the verdicts that it has read: the next look reads the new ones only.
    """

    def __init__(
        self,
        config: FeatureConfig,
        lake: Days,
        verdicts: Verdicts,
        files: FeatureTableFiles,
        refreshes: FeatureRefreshes,
        offer: Callable[[Parts], None],
        now: Callable[[], float],
    ) -> None:
        """`now`: unix seconds, on the clock of the verdicts' store."""
        self._config = config
        self._lake = lake
        self._store = verdicts
        self._files = files
        self._reader = TableReader(files)
        self._refreshes = refreshes
        self._offer = offer
        self._now = now
        self._lock = threading.Lock()
        self._verdicts: list[Verdict] = []
        self._places: dict[Key, tuple[str | None, int]] = {}
        """Where transactions happened whose verdicts do not say it."""
        self._known: tuple[str, _Present] | None = None

    def refresh(self) -> RefreshReport:
        """New tables if verdicts came, a day has ended, or labels may have matured.

        Raises:
            StoreError: a store did not answer; the next call does it.
        """
        with self._lock:
            return self._refreshed(profiles=True)

    def look_for_verdicts(self) -> RefreshReport:
        """New tables if verdicts came, profiles as they are. Raises as `refresh`."""
        with self._lock:
            return self._refreshed(profiles=False)

    def _refreshed(self, *, profiles: bool) -> RefreshReport:
        digest = self._refreshes.newest()
        present = self._present(digest)
        counted, labels = self._labels()
        facts = present.facts
        if not profiles and counted == max(facts.verdicts, 0):
            return RefreshReport() if digest is None else _report(digest, present.tables, refreshed=False)
        newest_ms = self._lake.newest_ms()
        if newest_ms is None:
            return RefreshReport()
        until_day = newest_ms // DAY_MS
        new_day = profiles and until_day != facts.until_day
        aged = profiles and newest_ms - facts.as_of_ms >= self._config.refresh_seconds * 1000
        if digest is not None and counted == facts.verdicts and not new_day and not (aged and labels):
            return _report(digest, present.tables, refreshed=False)
        merchants, users = self._risks(labels, newest_ms)
        habits = self._profiles(until_day) if new_day else present.tables.profiles
        tables = FeatureTables(merchants, users, habits)
        if digest is None and not any(_sizes(tables)):
            return RefreshReport()
        made = TableFacts(until_day if new_day else facts.until_day, counted, newest_ms)
        parts = put_tables(self._files, tables, made)
        if parts.digest != digest:
            self._offer(parts)
            self._refreshes.publish(parts.digest)
        logger.info("features: tables %s: %s", parts.digest[:12], _sizes(tables))
        return _report(parts.digest, tables, refreshed=True)

    def _profiles(self, until_day: int) -> ProfileTable:
        from_day = until_day - self._config.profile_days
        return profiles_of(self._lake.rows_of_days(from_day, until_day, COLUMNS), from_day, until_day)

    def _labels(self) -> tuple[int, Mapping[Key, Verdict]]:
        """How many verdicts count by now, and what they say."""
        while True:
            last = self._verdicts[-1].number if self._verdicts else 0
            new = self._store.since(last, VERDICTS_READ)
            self._verdicts += new
            if len(new) < VERDICTS_READ:
                break
        known_until_ms = round((self._now() - self._config.verdict_delay_seconds) * 1000)
        counted = sum(verdict.known_ms <= known_until_ms for verdict in self._verdicts)
        return counted, labels_at(self._verdicts, known_until_ms)

    def _risks(self, labels: Mapping[Key, Verdict], as_of_ms: int) -> tuple[MerchantTable, UserRiskTable]:
        maturity_ms = round(self._config.label_maturity_days * DAY_MS)
        from_ms = as_of_ms - maturity_ms - LONG_DAYS * DAY_MS
        frauds = self._placed({key: label for key, label in labels.items() if label.fraud}, from_ms, as_of_ms)
        # A verdict may be quicker than the lake.
        as_of_ms = max([as_of_ms, *(event_ms for _, event_ms in frauds.values())])
        users = user_risk(
            np.array([key[1] for key in frauds], np.int64),
            np.array([event_ms for _, event_ms in frauds.values()], np.int64),
            as_of_ms,
            maturity_ms,
        )
        at_merchants = {
            key: (merchant, event_ms)
            for key, (merchant, event_ms) in frauds.items()
            if merchant is not None and event_ms >= from_ms
        }
        if not at_merchants:
            return MerchantTable(), users
        rows = self._lake.rows_of_days(from_ms // DAY_MS, as_of_ms // DAY_MS + 1, MERCHANT_COLUMNS)
        history = merchant_history(rows, labels, at_merchants, as_of_ms, maturity_ms)
        return history.table_at(as_of_ms, maturity_ms), users

    def _placed(
        self, labels: Mapping[Key, Verdict], from_ms: int, as_of_ms: int
    ) -> dict[Key, tuple[str | None, int]]:
        """Merchant and event time of each transaction that the verdict or the lake knows."""
        placed: dict[Key, tuple[str | None, int]] = {}
        unknown = []
        for key, label in labels.items():
            if label.event_ms is not None:
                placed[key] = label.merchant_id, label.event_ms
            elif key in self._places:
                placed[key] = self._places[key]
            else:
                unknown.append(key)
        if unknown:
            rows = self._lake.rows_of_days(from_ms // DAY_MS, as_of_ms // DAY_MS + 1, MERCHANT_COLUMNS)
            found = places_of(rows, unknown)
            self._places |= found
            placed |= found
        return placed

    def _present(self, digest: str | None) -> _Present:
        """The newest tables; none if they cannot be read, so that they are made anew."""
        if self._known is not None and self._known[0] == digest:
            return self._known[1]
        present = _Present(FeatureTables(), TableFacts(until_day=-1, verdicts=-1))
        if digest is not None:
            try:
                present = _Present(self._reader.load(digest), self._reader.risks(digest).facts)
                self._known = digest, present
            except StoreRefused as error:
                logger.error("features: tables %s are made anew: %s", digest, error)  # noqa: TRY400
        return present


def _sizes(tables: FeatureTables) -> tuple[int, int, int]:
    return len(tables.merchants.merchant_ids), len(tables.users.user_ids), len(tables.profiles.user_ids)


def _report(digest: str, tables: FeatureTables, *, refreshed: bool) -> RefreshReport:
    return RefreshReport(digest, refreshed, *_sizes(tables))

"""New feature tables, when there is something new: verdicts of analysts, or a completed day.

    newest tables + verdicts + lake → tables → file → offer to the owners → published

Never: tables that differ from the newest in nothing; a publication before the file is in the lake.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np

from batch.features.config import FeatureConfig
from batch.features.profiles import COLUMNS, profiles_of
from ray_fraud.domain.feature_tables import NO_TABLES, FeatureTables, MerchantTable, ProfileTable
from ray_fraud.stores.errors import StoreRefused
from ray_fraud.stores.feature_tables.encoding import Decoded, TableFacts, decode_tables, encode_tables
from ray_fraud.stores.feature_tables.port import FeatureRefreshes, FeatureTableFiles
from ray_fraud.stores.review_data.port import MerchantVerdicts, ReviewData

logger = logging.getLogger(__name__)


class RefreshReport(msgspec.Struct):
    """What became of the feature tables."""

    digest: str | None = None
    """Of the newest tables; None: there are none yet."""
    refreshed: bool = False
    merchants: int = 0
    profiles: int = 0


class Days(Protocol):
    """The days of the lake."""

    def newest_day(self) -> int | None:
        """UTC day of the newest event (days since 1970-01-01); None for an empty lake."""

    def rows_of_days(self, from_day: int, until_day: int, columns: Sequence[str]) -> object:
        """Rows of `[from_day, until_day)` as something of Arrow that DuckDB reads."""


def refresh(
    config: FeatureConfig,
    lake: Days,
    review: ReviewData,
    files: FeatureTableFiles,
    refreshes: FeatureRefreshes,
    offer: Callable[[str, bytes], None],
) -> RefreshReport:
    """Makes and publishes tables if verdicts came or a day has ended.

    Raises:
        StoreError: a store did not answer; the next run does it.
    """
    digest = refreshes.newest()
    present = _present(files, digest)
    verdicts = review.merchant_verdicts(config.verdict_delay_seconds)
    until_day = lake.newest_day() or 0
    report = RefreshReport(digest, False, *_sizes(present.tables))
    if digest is not None and (verdicts.counted, until_day) == (
        present.facts.newest_verdict,
        present.facts.until_day,
    ):
        return report
    profiles = present.tables.profiles
    if until_day != present.facts.until_day:
        profiles = profiles_of(lake.rows_of_days(until_day - config.profile_days, until_day, COLUMNS))
    tables = FeatureTables(merchants_of(verdicts), profiles)
    if digest is None and not any(_sizes(tables)):
        return report
    content = encode_tables(tables, TableFacts(until_day, verdicts.counted))
    new = files.put(content)
    if new != digest:
        offer(new, content)
        refreshes.publish(new)
    logger.info("features: tables %s: %d merchants, %d profiles", new[:12], *_sizes(tables))
    return RefreshReport(new, True, *_sizes(tables))


def merchants_of(verdicts: MerchantVerdicts) -> MerchantTable:
    counts = np.array([row[1:] for row in verdicts.merchants], np.int64).reshape(-1, 2)
    return MerchantTable([row[0] for row in verdicts.merchants], counts[:, 0].copy(), counts[:, 1].copy())


def _present(files: FeatureTableFiles, digest: str | None) -> Decoded:
    """The newest tables; none if they cannot be read, so that they are made anew."""
    if digest is not None:
        try:
            return decode_tables(files.load(digest))
        except StoreRefused as error:
            logger.error("features: tables %s are made anew: %s", digest, error)  # noqa: TRY400
    return Decoded(NO_TABLES, TableFacts(until_day=-1, newest_verdict=-1))


def _sizes(tables: FeatureTables) -> tuple[int, int]:
    profiles: ProfileTable = tables.profiles
    return len(tables.merchants.merchant_ids), len(profiles.user_ids)

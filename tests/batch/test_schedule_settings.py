"""The operator's settings on their way to each part of the cold path, and back to whoever asks what holds."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actors.config import HotPathConfig
from batch.features.config import FeatureConfig
from batch.ingest.config import IngestConfig
from batch.schedule.actor import BatchActor
from batch.schedule.config import BatchConfig, settings_in, with_settings
from cluster.local.cold_path import batch_config
from ray_fraud.domain.alert import Severity
from ray_fraud.domain.batch_settings import (
    BatchSettings,
    DriftSettings,
    FeatureSettings,
    LakeCareSettings,
    PromotionSettings,
    SearchSettings,
    TrainingPeriods,
)
from ray_fraud.domain.patterns.settings import CoordinatedSettings, FrequencySettings, PatternSettings
from ray_fraud.stores.connections import (
    Connections,
    KafkaConnection,
    LakeLocation,
    PostgresConnection,
    RedisConnection,
    from_json,
    to_json,
)

CONNECTIONS = Connections(
    KafkaConnection(""), RedisConnection(""), PostgresConnection(""), LakeLocation("file:///lake")
)


def number(least: float, most: float) -> st.SearchStrategy[float]:
    return st.floats(least, most).map(lambda value: max(least, round(value, 6)))


SETTINGS = st.builds(
    BatchSettings,
    number(0.1, 10_080),
    st.builds(
        FeatureSettings,
        st.integers(1, 3_650),
        number(0, 1e6),
        number(0, 90),
        st.integers(1, 100).map(float),
    ),
    st.builds(SearchSettings, number(2, 744), st.integers(1, 10_000_000)),
    st.builds(
        PatternSettings,
        st.builds(FrequencySettings, number(1, 120), st.integers(2, 99)),
        coordinated=st.builds(CoordinatedSettings, severity=st.sampled_from(Severity)),
    ),
    st.builds(
        LakeCareSettings, number(1, 100), number(0.1, 9), number(1, 400), number(1, 400), st.booleans()
    ),
    st.builds(TrainingPeriods, number(1, 100), st.integers(1, 99), number(1, 9)),
    st.builds(PromotionSettings, st.integers(0, 50).map(float), number(0, 1), st.integers(1, 9)),
    st.builds(DriftSettings, number(0.1, 9), st.integers(10_000, 99_999), st.integers(1, 5_000)),
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SETTINGS)
def test_what_was_set_is_what_holds(settings: BatchSettings) -> None:
    bare = BatchConfig(
        ingest=IngestConfig(connections=CONNECTIONS), features=FeatureConfig(model_cache=Path("/cache"))
    )
    assert settings_in(bare) == BatchSettings()
    told = from_json(to_json(with_settings(bare, settings)), BatchConfig)
    assert settings_in(told) == settings
    assert (told.features.model_cache, told.ingest) == (Path("/cache"), bare.ingest)


def test_the_actor_tells_what_holds_though_no_store_answers() -> None:
    closed = PostgresConnection("postgresql://nobody@127.0.0.1:1/none")
    connections = msgspec.structs.replace(CONNECTIONS, postgres=closed)
    settings = BatchSettings(interval_minutes=15, features=FeatureSettings(profile_days=30))
    told = batch_config(HotPathConfig(connections=connections, batch=settings))
    actor = BatchActor(to_json(msgspec.structs.replace(told, settle=timedelta(days=1))))
    status = msgspec.json.decode(actor.status())
    actor.drain()
    assert msgspec.convert(status["settings"], BatchSettings) == settings
    assert status["interval_seconds"] == 900
    assert "postgres" in status["error"]


def test_each_part_is_told_its_own() -> None:
    settings = BatchSettings(
        interval_minutes=15,
        features=FeatureSettings(30, 60.0),
        search=SearchSettings(12, 1_000),
        patterns=PatternSettings(FrequencySettings(count=30)),
        care=LakeCareSettings(48, 2, 30, 14, sort=False),
        drift=DriftSettings(0.5, 3_000, 300, 14),
    )
    sent = from_json(to_json(HotPathConfig(connections=CONNECTIONS, batch=settings)), HotPathConfig)
    config = batch_config(sent)
    assert config.interval == timedelta(minutes=15)
    assert (config.features.profile_days, config.features.verdict_delay_seconds) == (30, 60.0)
    assert (config.patterns.look_back_hours, config.patterns.max_rows) == (12, 1_000)
    assert config.patterns.settings.frequency.count == 30
    care = config.care
    assert (care.interval, care.retry) == (timedelta(hours=48), timedelta(hours=2))
    assert (care.retention, care.feature_tables_retention) == (timedelta(days=30), timedelta(days=14))
    assert not care.sort
    assert config.drift == settings.drift


def test_a_sample_that_could_be_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"least_rows = 501 must be at most half of drift\.max_rows = 1000"):
        DriftSettings(max_rows=1_000, least_rows=501)

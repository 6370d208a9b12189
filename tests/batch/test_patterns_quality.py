"""With default parameters rules find the generator's frauds, and little else, in what one search looks at."""

import pytest

from batch.patterns.columns_of import pattern_columns, with_cells
from batch.patterns.config import PatternConfig
from batch.patterns.rules import find_patterns
from ray_fraud.domain.alert import RuleName
from tests.batch.pattern_quality import MEANT_FOR, Quality, history, hot_quality, pattern_quality, stream_of

LEAST_RECALL, LEAST_PRECISION = 0.9, 0.8
LEAST_FINDINGS = 15
"""With fewer a share says little."""
USERS, SEED, FRAUD_SHARE = 100_000, 4711, 0.02
DEFAULTS = PatternConfig()
pytestmark = pytest.mark.timeout(300)
"""The stream takes seconds to make and fold; a machine with other work, many more."""


@pytest.fixture(scope="module")
def judged() -> dict[RuleName, Quality]:
    past = history(stream_of(USERS, DEFAULTS.look_back_hours, SEED, FRAUD_SHARE))
    assert past.table.num_rows <= DEFAULTS.max_rows
    findings = find_patterns(pattern_columns(with_cells(past.table)), DEFAULTS.settings)
    return {one.rule: one for one in [*pattern_quality(findings, past.scenarios), *hot_quality(past)]}


@pytest.mark.parametrize(
    "rule",
    [
        pytest.param(RuleName.SMALL_AMOUNTS, id="card testing"),
        pytest.param(RuleName.COORDINATED, id="rings"),
        pytest.param(RuleName.GEO_VELOCITY, id="impossible travel"),
    ],
)
def test_a_rule_finds_its_kind_of_fraud_and_little_else(
    judged: dict[RuleName, Quality], rule: RuleName
) -> None:
    one = judged[rule]
    (kind,) = MEANT_FOR[rule]
    assert one.recall[kind] >= LEAST_RECALL
    assert one.precision is not None
    assert one.precision >= LEAST_PRECISION
    assert one.right >= LEAST_FINDINGS

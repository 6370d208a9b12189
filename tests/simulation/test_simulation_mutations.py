"""The simulation can fail: every seeded defect of the engine is noticed within a few seeds.

Defects that only one of two lines of defence keeps out (a cut that is not repeated, or not compared by
epoch) are not among them: the recovery ladder heals those, and `tests/stores` checks the stores' own part.
"""

import pytest

from ray_fraud.domain.timeline import TimelineError
from ray_fraud.stores.log.port import LogGap
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.test_simulation import run

SEEDS = 60
RECORDS = 150
ENGINE_REFUSALS = (LogGap, TimelineError)
"""Some defects are noticed by the engine itself in some seeds; the comparison must find them, too."""


def noticed_by_check(seed: int) -> bool:
    try:
        run(seed, RECORDS)
    except AssertionError as error:
        frames = []
        trace = error.__traceback__
        while trace is not None:
            frames.append(trace.tb_frame.f_code.co_name)
            trace = trace.tb_next
        return "check" in frames
    except ENGINE_REFUSALS:
        return False
    return False


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_wrong_engine_is_noticed(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    mutant(monkeypatch)
    assert any(noticed_by_check(seed) for seed in range(SEEDS))

"""Two steps of a run at the same time: both end, and no error is lost."""

import logging
import threading

import pytest

from batch.schedule.together import together

PATIENCE_SECONDS = 10.0


def test_both_run_at_the_same_time_and_give_what_they_give() -> None:
    meeting = threading.Barrier(2, timeout=PATIENCE_SECONDS)

    def step(answer: str) -> str:
        meeting.wait()
        return answer

    assert together(lambda: step("search"), lambda: step("fold")) == ("search", "fold")


@pytest.mark.parametrize("fails_first", [True, False])
def test_one_that_fails_lets_the_other_end(*, fails_first: bool) -> None:
    ended = threading.Event()

    def fail() -> None:
        raise ValueError("no lake")

    steps = (fail, ended.set) if fails_first else (ended.set, fail)
    with pytest.raises(ValueError, match="no lake"):
        together(*steps)
    assert ended.is_set()


def test_of_two_errors_one_is_raised_and_the_other_logged(caplog: pytest.LogCaptureFixture) -> None:
    def fail(reason: str) -> None:
        raise ValueError(reason)

    with caplog.at_level(logging.ERROR), pytest.raises(ValueError, match="fold"):
        together(lambda: fail("search"), lambda: fail("fold"))
    assert "ValueError: search" in caplog.text

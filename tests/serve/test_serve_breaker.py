"""The circuit breaker, with time as an argument."""

from hypothesis import given
from hypothesis import strategies as st

from serve.breaker import BreakerSettings, BreakerState, CircuitBreaker, Permit


def state_of(breaker: CircuitBreaker) -> BreakerState:
    """The state now: a type checker would take a second look at the property for the first one."""
    return breaker.state


def granted(breaker: CircuitBreaker, now: float) -> Permit:
    permit = breaker.permit(now)
    assert permit is not None
    return permit


def opened(now: float = 0.0) -> CircuitBreaker:
    breaker = CircuitBreaker()
    for _ in range(5):
        breaker.failed(granted(breaker, now), now)
    assert state_of(breaker) is BreakerState.OPEN
    return breaker


def test_five_failures_in_a_row_open_it() -> None:
    breaker = CircuitBreaker()
    for count in range(5):
        assert state_of(breaker) is BreakerState.CLOSED, f"open after {count}"
        breaker.failed(granted(breaker, 0.0), 0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_a_success_between_starts_the_count_again() -> None:
    breaker = CircuitBreaker()
    for outcome in "ffffsffff":
        permit = granted(breaker, 0.0)
        breaker.succeeded(permit) if outcome == "s" else breaker.failed(permit, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_half_of_twenty_calls_open_it() -> None:
    breaker = CircuitBreaker()
    for outcome in "sf" * 10:
        assert state_of(breaker) is BreakerState.CLOSED
        permit = granted(breaker, 0.0)
        breaker.succeeded(permit) if outcome == "s" else breaker.failed(permit, 0.0)
    assert state_of(breaker) is BreakerState.OPEN


def test_less_than_half_keep_it_closed() -> None:
    breaker = CircuitBreaker()
    for outcome in "ssf" * 100:
        permit = granted(breaker, 0.0)
        breaker.succeeded(permit) if outcome == "s" else breaker.failed(permit, 0.0)
    assert state_of(breaker) is BreakerState.CLOSED


def test_open_it_grants_one_probe_a_second() -> None:
    breaker = opened(now=10.0)
    assert breaker.permit(10.999) is None
    assert breaker.permit(11.0) is not None
    assert state_of(breaker) is BreakerState.HALF_OPEN
    assert breaker.permit(11.5) is None
    # the probe's outcome was never told (its thread died): the next second grants another
    assert breaker.permit(12.0) is not None


def test_a_probe_that_succeeds_closes_it() -> None:
    breaker = opened()
    breaker.succeeded(granted(breaker, 1.0))
    assert state_of(breaker) is BreakerState.CLOSED
    assert breaker.permit(1.0) is not None


def test_a_probe_that_fails_opens_it_for_another_second() -> None:
    breaker = opened()
    breaker.failed(granted(breaker, 1.0), 1.2)
    assert state_of(breaker) is BreakerState.OPEN
    assert breaker.permit(2.1) is None
    assert breaker.permit(2.2) is not None


def test_a_late_answer_to_an_old_call_changes_nothing() -> None:
    breaker = CircuitBreaker()
    old = granted(breaker, 0.0)
    for _ in range(5):
        breaker.failed(granted(breaker, 0.0), 0.0)
    breaker.succeeded(old)
    assert state_of(breaker) is BreakerState.OPEN
    probe = granted(breaker, 1.0)
    breaker.failed(old, 1.0)
    breaker.succeeded(old)
    assert state_of(breaker) is BreakerState.HALF_OPEN
    breaker.succeeded(probe)
    for _ in range(9):
        breaker.failed(old, 2.0)
    assert state_of(breaker) is BreakerState.CLOSED


steps = st.lists(st.tuples(st.floats(0, 3), st.sampled_from(["call", "succeed", "fail"])), max_size=200)


@given(steps, st.integers(1, 6))
def test_whatever_happens_probes_are_paced_and_open_needs_failures(
    history: list[tuple[float, str]], limit: int
) -> None:
    breaker = CircuitBreaker(BreakerSettings(consecutive_failures=limit))
    now, failures, pending = 0.0, 0, list[Permit]()
    last_probe = -9.0
    for delay, step in history:
        now += delay
        if step == "call":
            before = state_of(breaker)
            permit = breaker.permit(now)
            if permit is not None:
                pending.append(permit)
                if before is not BreakerState.CLOSED:
                    assert now - last_probe >= 1.0
                    last_probe = now
            else:
                assert before is not BreakerState.CLOSED
        elif pending:
            permit = pending.pop()
            if step == "fail":
                failures += 1
                breaker.failed(permit, now)
            else:
                breaker.succeeded(permit)
        assert state_of(breaker) is BreakerState.CLOSED or failures >= limit or failures >= 10


@given(steps)
def test_without_failures_it_stays_closed(history: list[tuple[float, str]]) -> None:
    breaker = CircuitBreaker()
    now = 0.0
    for delay, _ in history:
        now += delay
        breaker.succeeded(granted(breaker, now))
    assert state_of(breaker) is BreakerState.CLOSED


@given(steps)
def test_it_always_closes_again_once_calls_succeed(history: list[tuple[float, str]]) -> None:
    breaker = CircuitBreaker()
    now = 0.0
    for delay, step in history:
        now += delay
        permit = breaker.permit(now)
        if permit is not None:
            breaker.succeeded(permit) if step == "succeed" else breaker.failed(permit, now)
    permit = breaker.permit(now + 1.0)
    assert permit is not None
    breaker.succeeded(permit)
    assert state_of(breaker) is BreakerState.CLOSED

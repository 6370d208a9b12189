"""Whether a partition gets on, by looks at given times."""

import pytest

from actors.engine.progress import LONGEST_PATIENCE_SECONDS, ProgressWatch, Settled, Verdict

LIMIT = 30.0


def looks(
    watch: ProgressWatch, times: range, settled: Settled | None, end: int | None, *, outage: bool = False
) -> list[Verdict]:
    return [watch.look(float(now), settled, end, outage=outage) for now in times]


def test_a_partition_without_lag_never_stalls() -> None:
    verdicts = looks(ProgressWatch(LIMIT), range(0, 1_000, 2), Settled(1, 100), 100)
    assert set(verdicts) == {Verdict(0, 0.0, stuck=False)}


def test_a_partition_that_settles_never_stalls_however_far_behind_it_is() -> None:
    watch = ProgressWatch(LIMIT)
    for now in range(0, 1_000, 2):
        verdict = watch.look(float(now), Settled(1, now), 1_000_000)
        assert (verdict.stalled_seconds, verdict.stuck) == (0.0, False)


def test_lag_without_progress_is_a_stall_at_the_limit() -> None:
    watch = ProgressWatch(LIMIT)
    looks(watch, range(0, 100, 2), Settled(1, 100), 100)
    verdicts = looks(watch, range(100, 132, 2), Settled(1, 100), 150)
    assert [verdict.stalled_seconds for verdict in verdicts] == [0.0] * 15 + [30.0]
    assert [verdict.stuck for verdict in verdicts] == [False] * 15 + [True]
    assert verdicts[-1].lag == 50


def test_a_stall_ends_with_the_first_record_that_settles() -> None:
    watch = ProgressWatch(LIMIT)
    looks(watch, range(0, 60, 2), Settled(1, 100), 150)
    assert watch.look(60.0, Settled(1, 101), 150) == Verdict(49, 0.0, stuck=False)


def test_a_known_outage_is_shown_and_ends_no_owner() -> None:
    watch = ProgressWatch(LIMIT)
    during = looks(watch, range(0, 600, 2), Settled(1, 100), 150, outage=True)
    assert during[-1].stalled_seconds == 598.0
    assert not any(verdict.stuck for verdict in during)
    after = looks(watch, range(600, 640, 2), Settled(1, 100), 150)
    assert [verdict.stuck for verdict in after].index(True) == 14


def test_an_end_that_is_not_known_is_the_one_before() -> None:
    watch = ProgressWatch(LIMIT)
    assert watch.look(0.0, Settled(1, 100), None) == Verdict(None, 0.0, stuck=False)
    watch.look(2.0, Settled(1, 100), 150)
    assert looks(watch, range(4, 40, 2), Settled(1, 100), None)[-1].stalled_seconds == 38.0


def test_owners_that_die_soon_and_repeat_themselves_are_a_stall() -> None:
    watch = ProgressWatch(LIMIT)
    watch.look(0.0, Settled(1, 100), 150)
    verdict = Verdict(None, 0.0, stuck=False)
    for now in range(2, 60, 2):
        # Each replays from 90 to 100 and dies there, ten seconds after it began.
        verdict = watch.look(float(now), Settled(2 + now // 10, 90 + now % 10), 150)
    assert verdict.stalled_seconds == 58.0


def test_a_long_replay_is_progress() -> None:
    watch = ProgressWatch(LIMIT)
    watch.look(0.0, Settled(1, 100_000), 100_050)
    late = [watch.look(float(now), Settled(2, 10 * now), 100_050) for now in range(2, 600, 2)][16:]
    assert {(verdict.stalled_seconds, verdict.stuck) for verdict in late} == {(0.0, False)}
    assert late[-1].lag == 100_050 - 5_980


def test_without_an_owner_what_was_settled_before_counts() -> None:
    watch = ProgressWatch(LIMIT)
    watch.look(0.0, Settled(1, 100), 100)
    verdicts = looks(watch, range(2, 60, 2), None, 170)
    assert verdicts[-1] == Verdict(70, 56.0, stuck=False)


def test_a_partition_that_never_had_an_owner_waits_from_its_first_record_on() -> None:
    assert looks(ProgressWatch(LIMIT), range(0, 60, 2), None, 7)[-1] == Verdict(7, 58.0, stuck=False)


def test_each_owner_that_was_ended_in_vain_gives_the_next_one_longer() -> None:
    watch, now, lives = ProgressWatch(LIMIT), 0, []
    for epoch in range(1, 9):
        began = now
        while not watch.look(float(now), Settled(epoch, 100), 150).stuck:
            now += 1
        watch.ended()
        lives.append(now - began)
    assert lives == [30, 60, 120, 240, 480, 600, 600, 600]
    assert lives[-1] == LONGEST_PATIENCE_SECONDS
    watch.look(float(now), Settled(9, 101), 150)
    assert looks(watch, range(now, now + 31), Settled(9, 101), 150)[-1].stuck


@pytest.mark.parametrize("end", [80, 100])
def test_a_log_that_was_cut_short_counts_anew(end: int) -> None:
    watch = ProgressWatch(LIMIT)
    watch.look(0.0, Settled(1, 100), 100)
    assert watch.look(2.0, Settled(1, 100), end) == Verdict(0, 0.0, stuck=False)
    watch.look(4.0, Settled(2, 70), 120)
    assert watch.look(6.0, Settled(2, 110), 120).stalled_seconds == 0.0
    assert looks(watch, range(8, 40, 2), Settled(2, 110), 120)[-1].stalled_seconds == 32.0

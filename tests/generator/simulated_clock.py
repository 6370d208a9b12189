"""A clock that stands still until somebody sleeps."""


class SimulatedClock:
    def __init__(self, now: float) -> None:
        self.time = now
        self.sleeps = 0

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0, "a sleep of nothing is spinning"
        self.sleeps += 1
        self.time += seconds

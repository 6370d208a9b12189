"""What one benchmark run measures and for how long.

Never: a threshold; the ratios are the result, and the reader judges them.
"""

import msgspec


class BenchPlan(msgspec.Struct, frozen=True):
    rates_tps: tuple[int, ...] = (500, 5_000)
    latency_seconds: float = 60.0
    warm_up_seconds: float = 5.0
    """Alerts sent earlier than this after the load began are left out."""
    backlog_records: int = 500_000
    users: int = 100_000
    prepared_records: int = 200_000
    alert_share: float = 0.01
    ceiling_seconds: float = 10.0
    sustained_seconds: float = 60.0
    sustained_shares: tuple[float, ...] = (0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.2)
    """Rates to try, as shares of the drain rate, highest first."""


FULL = BenchPlan()
QUICK = BenchPlan(
    latency_seconds=20.0,
    warm_up_seconds=3.0,
    backlog_records=200_000,
    prepared_records=100_000,
    ceiling_seconds=5.0,
    sustained_seconds=15.0,
)


class Latency(msgspec.Struct, frozen=True):
    """Send → alert durable, from outside."""

    tps: int
    scoring: str
    alerts: int
    p50_ms: float
    p95_ms: float
    p99_ms: float
    sent_tps: float
    """What the load generator reached."""


class Report(msgspec.Struct):
    """What `--output json` shows under `data`."""

    machine: dict[str, object]
    ceiling_tps: float = 0.0
    latency: list[Latency] = []
    sustained_tps: float = 0.0
    drain_tps: float = 0.0
    bytes_per_user: float = 0.0
    """A user with 40 transactions in 24 h, in memory."""
    actor_rss_mb: float = 0.0
    """The largest partition actor, after the backlog."""
    actor_users: int = 0
    """Users of that actor."""
    steps_us: dict[str, float] = {}
    """Per record; `score` is the time a caller waited divided by the rows of its calls."""
    ratios: dict[str, float] = {}

    def derive_ratios(self) -> None:
        """p99 with Serve ÷ in the actor at each rate, and the rates ÷ the ceiling."""
        by_key = {(entry.tps, entry.scoring): entry.p99_ms for entry in self.latency}
        for tps, scoring in by_key:
            if scoring == "serve" and by_key.get((tps, "local")):
                self.ratios[f"p99_serve_to_local_{tps}"] = by_key[tps, "serve"] / by_key[tps, "local"]
        if self.ceiling_tps:
            self.ratios["sustained_to_ceiling"] = self.sustained_tps / self.ceiling_tps
            self.ratios["drain_to_ceiling"] = self.drain_tps / self.ceiling_tps

"""Measures recovery after SIGKILL of a partition's owner: `python -m tests.benchmarks.recovery --kills 10`.

Brings up a hot path of its own (as `tests/actors` does), sends `--tps` transactions a second, and kills one
owner after another. A recovery is the time from the kill until a later owner has settled everything that
the killed one may have decided. At the end the audit must agree. One JSON object on stdout:

    {"kills", "tps", "recovery_seconds": [...], "p50", "p95", "max", "replayed_records": [...],
     "alerts", "missing", "unexpected", "duplicate_rows"}

It is no test: a figure of a busy machine says little, and nobody should wait for it in `make test`.

Never: a verdict on the machine; compare figures of one machine, taken one after the other.
"""

import sys
import time

import click
import msgspec
import numpy as np

from cluster.local.audit import StackAudit
from tests.actors.platform import Platform, open_platform

RECOVERY_LIMIT_SECONDS = 60.0


class Recoveries(msgspec.Struct):
    """One line of the output."""

    kills: int
    tps: float
    recovery_seconds: list[float]
    p50: float
    p95: float
    max: float
    replayed_records: list[int]
    alerts: int
    missing: int
    unexpected: int
    duplicate_rows: int


def kill_in_turn(platform: Platform, kills: int, tps: float) -> tuple[list[float], list[int]]:
    """Seconds and replayed records of each recovery."""
    seconds: list[float] = []
    replayed: list[int] = []
    with platform.load(tps):
        for number in range(kills):
            partition = number % len(platform.partitions)
            platform.epochs()
            began = time.monotonic()
            killed = platform.kill(partition)
            owner = platform.await_owner_after(killed, partition, RECOVERY_LIMIT_SECONDS)
            seconds.append(round(time.monotonic() - began, 2))
            replayed.append(owner["barrier"] - owner["start_offset"])
            sys.stderr.write(f"kill {number + 1} of {kills}: {seconds[-1]:.1f} s\n")
    return seconds, replayed


@click.command(help=__doc__)
@click.option("--kills", type=click.IntRange(min=1), default=10, show_default=True)
@click.option("--tps", type=click.FloatRange(min=1), default=300.0, show_default=True)
def main(kills: int, tps: float) -> None:
    platform = open_platform()
    try:
        seconds, replayed = kill_in_turn(platform, kills, tps)
        audit: StackAudit = platform.assert_exact()
    finally:
        platform.close()
    p50, p95 = (float(np.percentile(seconds, share)) for share in (50, 95))
    figures = Recoveries(
        kills=kills,
        tps=tps,
        recovery_seconds=seconds,
        p50=p50,
        p95=p95,
        max=max(seconds),
        replayed_records=replayed,
        alerts=audit.replayed_alerts,
        missing=audit.missing,
        unexpected=audit.unexpected,
        duplicate_rows=audit.duplicate_rows,
    )
    sys.stdout.write(msgspec.json.encode(figures).decode() + "\n")


if __name__ == "__main__":
    main()
